//! Shaders compiled once each.

use std::collections::HashMap;

use super::device::Gpu;
use crate::error::{Error, Result};
use crate::kernels::shader::{self, Access, FIRST_BUFFER, Kernel};
use crate::plan::state::PAGE_TOKENS;
use crate::quant::GgmlType;

/// Pipelines by kernel and formats, and the layouts that they share. A device keeps them from plan to plan.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    #[cfg(test)]
    pub(super) spoil: Vec<super::Damage>,
    made: HashMap<(&'static str, Vec<GgmlType>), wgpu::ComputePipeline>,
    layouts: HashMap<Vec<bool>, wgpu::BindGroupLayout>,
}

impl Pipelines {
    /// Kernels whose buffers are used in the same ways share a layout, and with it bind groups.
    pub(super) fn layout(&mut self, gpu: &Gpu, kernel: &Kernel) -> wgpu::BindGroupLayout {
        let key: Vec<bool> = kernel.buffers.iter().map(|b| b.access == Access::Read).collect();
        let make = || {
            let entry = |binding, ty| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
                count: None,
            };
            let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
            let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform), entry(1, storage(true))];
            entries.extend(key.iter().zip(FIRST_BUFFER..).map(|(&read, at)| entry(at, storage(read))));
            gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some(kernel.name),
                entries: &entries,
            })
        };
        self.layouts.entry(key.clone()).or_insert_with(make).clone()
    }

    pub(super) fn len(&self) -> usize {
        self.made.len()
    }

    pub(super) fn get(
        &mut self,
        gpu: &Gpu,
        kernel: &'static Kernel,
        formats: &[GgmlType],
    ) -> Result<wgpu::ComputePipeline> {
        let key = (kernel.name, formats.to_vec());
        if let Some(pipeline) = self.made.get(&key) {
            return Ok(pipeline.clone());
        }
        let unpacks: Vec<_> = formats.iter().map(|&ty| &shader::UNPACKS[ty as usize]).collect();
        let names: Vec<_> = std::iter::once(kernel.name).chain(unpacks.iter().map(|u| u.name)).collect();
        let label = names.join(" ");
        let text = shader::assemble(kernel, &unpacks, PAGE_TOKENS)
            .map_err(|e| Error::internal(format!("shader {label}")).with_cause(e))?;
        #[cfg(test)]
        let text = self.spoil.iter().filter(|d| d.kernel == kernel.name).fold(text, |text, d| {
            assert!(text.contains(d.from), "{} has nothing to damage", kernel.name);
            text.replace(d.from, d.to)
        });
        let layout = self.layout(gpu, kernel);
        let source = wgpu::ShaderSource::Wgsl(text.into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(&label), source };
        // Natively a counter in every loop would keep drivers from unrolling any; a browser has checks of its own.
        let checks =
            wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
        // SAFETY: every loop of the kernels counts, by steps that are not zero, to an end that does not change: none is endless.
        let module = unsafe { gpu.device.create_shader_module_trusted(descriptor, checks) };
        let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let pipeline = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        self.made.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}
