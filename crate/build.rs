//! Assembles every WebGPU shader that the backend can ask for and validates it, so that a broken one stops the build.

#[allow(dead_code, unreachable_pub)]
#[path = "kernels/shader/mod.rs"]
mod shader;

use std::env;

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, StorageAccess};
use shader::{Access, KERNELS, Kernel, UNPACKS, Unpack};

/// As `plan::state::PAGE_TOKENS`; any value would do for validation.
const PAGE_TOKENS: usize = 64;

fn main() {
    println!("cargo::rerun-if-changed=crate/kernels");
    println!("cargo::rerun-if-changed=crate/quant");
    // Shaders are the same with every feature: they are validated where there is none, which every build begins with.
    if ["RELAXED_SIMD", "CHECKS"].iter().any(|name| env::var_os(format!("CARGO_FEATURE_{name}")).is_some()) {
        return;
    }
    let mut failures = Vec::new();
    for kernel in KERNELS {
        let integer = kernel.constant("integer") == 1;
        let all: Vec<&Unpack> = UNPACKS.iter().filter(|u| u.packed.is_some() || !integer).collect();
        let mut formats: Vec<&[&Unpack]> =
            if kernel.reads_weights { all.chunks(1).collect() } else { vec![&[]] };
        if kernel.constant("segments") > 1 {
            // Whatever is right beside all others is right beside some of them.
            formats.push(&all);
        }
        for unpacks in formats {
            if let Err(e) = check(kernel, unpacks) {
                let names: Vec<_> = unpacks.iter().map(|u| u.name).collect();
                failures.push(format!("{} {}: {e}", kernel.name, names.join(" ")));
            }
        }
    }
    if !failures.is_empty() {
        for f in failures {
            eprintln!("{f}");
        }
        std::process::exit(1);
    }
}

/// Core WGSL only: no capability beyond what every WebGPU device has. The bindings must be those of the kernel's row.
fn check(kernel: &Kernel, unpacks: &[&Unpack]) -> Result<(), String> {
    let text = shader::assemble(kernel, unpacks, PAGE_TOKENS).map_err(|e| e.to_string())?;
    let module = naga::front::wgsl::parse_str(&text).map_err(|e| e.emit_to_string(&text))?;
    Validator::new(ValidationFlags::all(), Capabilities::empty())
        .validate(&module)
        .map_err(|e| e.emit_to_string(&text))?;
    for (_, global) in module.global_variables.iter() {
        let (Some(binding), AddressSpace::Storage { access }) = (&global.binding, global.space) else {
            continue;
        };
        let Some(i) = binding.binding.checked_sub(shader::FIRST_BUFFER) else { continue };
        let row = kernel.buffers.get(i as usize).ok_or("a binding that the kernel's row lacks")?;
        let writes = access.contains(StorageAccess::STORE);
        if writes != (row.access == Access::ReadWrite) {
            return Err(format!("binding {} is not what the kernel's row says", row.name));
        }
    }
    Ok(())
}
