//! How much a page loads to chat.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::sh::root;

/// Bytes, gzipped, of all the scripts, modules, styles and markup of the built site.
const BUDGET: u64 = 2_500_000;

/// Of the built site. A page loads it in place of another model, so it is no more part of the budget than others are.
const DEMO: &str = "pkg/qwenlet-demo.gguf";

/// Prints each file's size and fails where they exceed the budget together.
pub(crate) fn check() -> Result<()> {
    let dist = root().join("dist");
    let mut files = Vec::new();
    collect(&dist, &mut files).context("dist cannot be read; `cargo xtask build` makes it")?;
    files.sort();

    let mut common = 0;
    // Of the builds of the module a page loads one, with its worker script.
    let mut variants: BTreeMap<&str, u64> = BTreeMap::new();
    println!("{:>12} {:>12}", "bytes", "gzip");
    for path in &files {
        let gzip = gzipped(path)?;
        match variant(path) {
            Some(name) => *variants.entry(name).or_default() += gzip,
            None => common += gzip,
        }
        let name = path.strip_prefix(&dist).unwrap_or(path).display();
        println!("{:>12} {gzip:>12}  {name}", fs::metadata(path)?.len());
    }
    let (largest, variant) = variants.iter().map(|(name, &n)| (n, *name)).max().unwrap_or_default();
    let demo = dist.join(DEMO);
    let bytes = fs::metadata(&demo).with_context(|| format!("{} cannot be read", demo.display()))?.len();
    println!("{bytes:>12} {:>12}  {DEMO}, beside the budget: a model", gzipped(&demo)?);
    let total = common + largest;
    println!("{:>12} {total:>12}  with the largest build ({variant}); the budget is {BUDGET}", "");
    if !files.iter().any(|f| f.extension().is_some_and(|e| e == "wasm")) {
        bail!("dist has no wasm module; `cargo xtask build` makes it");
    }
    if total > BUDGET {
        bail!("a page loads {total} bytes to chat, {} over the budget", total - BUDGET);
    }
    Ok(())
}

/// The build that a file belongs to: `worker-relaxed.js`, `relaxed_bg.wasm`.
fn variant(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix("_bg.wasm").or_else(|| name.strip_prefix("worker-")?.strip_suffix(".js"))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|e| ["js", "wasm", "css", "html"].iter().any(|known| e == *known))
        {
            files.push(path);
        }
    }
    Ok(())
}

fn gzipped(path: &Path) -> Result<u64> {
    struct Count(u64);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut encoder = GzEncoder::new(Count(0), Compression::best());
    io::copy(&mut BufReader::new(File::open(path)?), &mut encoder)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(encoder.finish()?.0)
}
