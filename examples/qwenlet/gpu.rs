//! `gpu`: what the graphics device does by itself, beside which a model's figures can be read: how fast it copies memory,
//! and what a dispatch and a submit that is waited for cost.

use std::time::Instant;

use pollster::block_on;
use qwenlet::{Code, Error, Result};
use serde_json::{Value, json};

/// Each figure is the best of so many.
const TURNS: usize = 7;
const COPIES: u64 = 32;
const DISPATCHES: u32 = 4096;

/// A thread copies 16 bytes.
const COPY: &str = "
@group(0) @binding(0) var<storage, read> from_words: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> to_words: array<vec4<u32>>;
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = (id.y << 20u) + id.x;
    to_words[i] = from_words[i];
}
";
/// Words of 16 bytes that a row of workgroups copies; [`COPY`] shifts by it.
const ROW: u64 = 1 << 20;

/// Each dispatch reads what the one before wrote, as those of a model do.
const STEP: &str = "
@group(0) @binding(0) var<storage, read_write> counts: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { counts[id.x] += 1u; }
";

pub(crate) fn run() -> Result<Value> {
    let failed = |what: &'static str| {
        move |e: Box<dyn std::error::Error + Send + Sync>| Error::new(Code::NoWebgpu, what).with_cause(e)
    };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = block_on(instance.request_adapter(&wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    }))
    .map_err(|e| failed("no graphics adapter")(e.into()))?;
    let offered = adapter.limits();
    let bytes = (offered.max_buffer_size.min(offered.max_storage_buffer_binding_size) / 2).min(1 << 29)
        / (16 * ROW)
        * 16
        * ROW;
    let limits =
        wgpu::Limits { max_buffer_size: bytes, max_storage_buffer_binding_size: bytes, ..Default::default() };
    let (device, queue) = block_on(
        adapter.request_device(&wgpu::DeviceDescriptor { required_limits: limits, ..Default::default() }),
    )
    .map_err(|e| failed("the graphics adapter gives no device")(e.into()))?;
    let idle = || {
        device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| failed("the graphics device stopped")(e.into()))
    };
    let timed = |encode: &dyn Fn(&mut wgpu::CommandEncoder)| -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..TURNS {
            let mut encoder = device.create_command_encoder(&Default::default());
            encode(&mut encoder);
            let commands = encoder.finish();
            idle()?;
            let start = Instant::now();
            queue.submit([commands]);
            idle()?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(best)
    };
    let kernel = |text: &'static str, buffers: &[&wgpu::Buffer]| {
        let source = wgpu::ShaderSource::Wgsl(text.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        });
        let resources = buffers.iter().map(|b| b.as_entire_binding());
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let layout = &pipeline.get_bind_group_layout(0);
        let group =
            device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
        (pipeline, group)
    };
    let buffer = |size, usage| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };

    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::STORAGE;
    let [from, to] = [buffer(bytes, usage), buffer(bytes, usage)];
    let copying = timed(&|encoder| {
        for _ in 0..COPIES {
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, bytes);
        }
    })?;
    let (pipeline, group) = kernel(COPY, &[&from, &to]);
    let kernel_copying = timed(&|encoder| {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        for _ in 0..COPIES {
            pass.dispatch_workgroups((ROW / 256) as u32, (bytes / 16 / ROW) as u32, 1);
        }
    })?;

    let counts = buffer(4 * 64, wgpu::BufferUsages::STORAGE);
    let (pipeline, group) = kernel(STEP, &[&counts]);
    let dispatching = |n: u32| {
        let (pipeline, group) = (&pipeline, &group);
        move |encoder: &mut wgpu::CommandEncoder| {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(pipeline);
            for _ in 0..n {
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(1, 1, 1);
            }
        }
    };
    let (one, many) = (timed(&dispatching(1))?, timed(&dispatching(DISPATCHES))?);
    let start = Instant::now();
    let mut encoder = device.create_command_encoder(&Default::default());
    dispatching(DISPATCHES)(&mut encoder);
    drop(encoder.finish());
    let recording = start.elapsed().as_secs_f64();
    Ok(json!({
        "adapter": adapter.get_info().name,
        "driver": adapter.get_info().driver_info,
        // Read and written, each counted.
        "copied_bytes_per_s": 2.0 * (COPIES * bytes) as f64 / copying,
        "copied_by_kernel_bytes_per_s": 2.0 * (COPIES * bytes) as f64 / kernel_copying,
        "dispatch_us": 1e6 * (many - one) / f64::from(DISPATCHES - 1),
        "dispatch_recording_us": 1e6 * recording / f64::from(DISPATCHES),
        "submit_us": 1e6 * one,
    }))
}
