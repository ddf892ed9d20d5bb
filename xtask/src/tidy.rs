//! Checks of the sources that no compiler makes.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::sh::{program, root};

/// Lines of a source file that one can still read in one sitting.
const MAX_LINES: usize = 500;

/// Left behind by someone who meant to come back. Split so that this file does not find itself.
const UNFINISHED: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("FIX", "ME")];

/// Where CI has data that a clone has not. Split as above.
const GOLDEN: &[&str] =
    &[concat!("shared/", "fixtures"), concat!("shared/", "accept"), concat!("shared/", "lab")];

/// Checks every tracked file; says all that is wrong, not only the first.
pub(crate) fn check() -> Result<()> {
    let out =
        program("git", "").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output();
    let out = out.context("cannot run git")?;
    if !out.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    let list = String::from_utf8(out.stdout).context("a file's name is not UTF-8")?;
    let mut wrong = Vec::new();
    let mut n = 0;
    for name in list.split_terminator('\0').filter(|name| root().join(name).is_file()) {
        n += 1;
        let bytes = fs::read(root().join(name)).with_context(|| format!("cannot read {name}"))?;
        if let Ok(text) = std::str::from_utf8(&bytes) {
            wrong.extend(complaints(name, text));
        }
    }
    if !wrong.is_empty() {
        bail!("untidy:\n  {}", wrong.join("\n  "));
    }
    println!("{n} files are tidy");
    Ok(())
}

fn complaints(name: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code = [".rs", ".ts", ".mjs", ".wgsl", ".css"].iter().any(|end| name.ends_with(end));
    let lines = text.lines().count();
    if code && lines > MAX_LINES {
        found.push(format!("{name}: {lines} lines, more than {MAX_LINES}: split it"));
    }
    let product = ["crate/", "pkg/src/", "www/"].iter().any(|dir| name.starts_with(dir));
    for (i, line) in text.lines().enumerate() {
        let at = format!("{name}:{}", i + 1);
        if code {
            found.extend(
                UNFINISHED.iter().filter(|word| line.contains(**word)).map(|word| format!("{at}: {word}")),
            );
            if line.trim_end() != line {
                found.push(format!("{at}: white space at the end of the line"));
            }
        }
        if product && GOLDEN.iter().any(|dir| line.contains(dir)) && !name.contains("test") {
            found.push(format!("{at}: only tests know of the golden data"));
        }
        if name.ends_with("package-lock.json") && line.contains("\"resolved\": \"") {
            found.push(format!("{at}: a download address; run npm with --omit-lockfile-registry-resolved"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::complaints;

    #[test]
    fn finds_what_is_untidy() {
        let long = "x\n".repeat(501);
        assert_eq!(complaints("crate/a.rs", &long).len(), 1);
        assert!(complaints("README.md", &long).is_empty());
        assert_eq!(complaints("crate/a.rs", concat!("fn f() { todo", "!() }")).len(), 1);
        assert_eq!(complaints("pkg/src/a.ts", "let a = 1; \n").len(), 1);
        assert_eq!(complaints("crate/a.rs", concat!("open(\"../shared/", "fixtures/x\")")).len(), 1);
        assert!(complaints("crate/a.rs", "fn f() {}\n").is_empty());
    }
}
