//! What has to be there that a clone has not: npm packages, and for the tests a browser and a software GPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh::{on_path, program, root, run};

/// Installs the npm packages of a folder where they are missing or not those of its lock file.
pub(crate) fn npm(folder: &str) -> Result<()> {
    let dir = root().join(folder);
    let lock = fs::read(dir.join("package-lock.json"))
        .with_context(|| format!("{folder}/package-lock.json cannot be read"))?;
    let installed = dir.join("node_modules/.installed-lock");
    if fs::read(&installed).is_ok_and(|have| have == lock) {
        return Ok(());
    }
    run(program("npm", folder).args(["ci", "--no-audit", "--no-fund"]))?;
    fs::write(&installed, lock).with_context(|| format!("cannot write {}", installed.display()))
}

/// A Chromium for the tests: `QWENLET_CHROMIUM`, one on the path, or one that gets installed now.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("QWENLET_CHROMIUM") {
        let path = PathBuf::from(given);
        if !path.is_file() {
            bail!("QWENLET_CHROMIUM names {}, which is not there", path.display());
        }
        return Ok(path);
    }
    if let Some(found) = system_chromium() {
        return Ok(found);
    }
    if can_apt() {
        apt(&["chromium"])?;
        if let Some(found) = system_chromium() {
            return Ok(found);
        }
    }
    npm("tests/browser")?;
    run(program("npx", "tests/browser").args(["playwright", "install", "--with-deps", "chromium"]))
        .context("no Chromium: install one, or set QWENLET_CHROMIUM to its path")?;
    let script = "process.stdout.write(require('@playwright/test').chromium.executablePath())";
    let out = program("node", "tests/browser").args(["-e", script]).output().context("cannot run node")?;
    let path = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim());
    if !path.is_file() {
        bail!("Playwright's Chromium is not where it should be: {}", path.display());
    }
    Ok(path)
}

fn system_chromium() -> Option<PathBuf> {
    let mac = Path::new("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome");
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
        .into_iter()
        .find_map(on_path)
        .or_else(|| mac.is_file().then(|| mac.to_owned()))
}

/// A Vulkan driver for the native WebGPU tests, which run on a software one where there is no GPU. False: there is none,
/// and none can be installed here.
pub(crate) fn vulkan() -> Result<bool> {
    if !cfg!(target_os = "linux") || has_icd() {
        return Ok(true);
    }
    if !can_apt() {
        return Ok(false);
    }
    apt(&["mesa-vulkan-drivers", "libvulkan1"])?;
    Ok(has_icd())
}

fn has_icd() -> bool {
    if std::env::var_os("VK_ICD_FILENAMES").is_some() || std::env::var_os("VK_DRIVER_FILES").is_some() {
        return true;
    }
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"]
        .iter()
        .any(|dir| fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()))
}

fn can_apt() -> bool {
    let root_user = Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    root_user && on_path("apt-get").is_some()
}

fn apt(packages: &[&str]) -> Result<()> {
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    run(install.env("DEBIAN_FRONTEND", "noninteractive"))
}
