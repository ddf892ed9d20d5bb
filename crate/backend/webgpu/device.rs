//! The adapter and device, what they can do, and what went wrong on them.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use futures_channel::oneshot;
use futures_util::future::LocalBoxFuture;

use super::WebGpuOptions;
use crate::error::{Code, Error, Result};

/// The first failure that the device reported. It stays: what the device holds is unknown afterwards.
#[derive(Debug, Clone)]
struct Fault {
    code: Code,
    message: String,
}

/// What a device will say of something it was told to make.
pub(super) struct Reports([LocalBoxFuture<'static, Option<wgpu::Error>>; 3]);

impl std::fmt::Debug for Reports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reports").finish_non_exhaustive()
    }
}

/// A buffer whose memory is given back when it is dropped, once what was submitted is done. Browsers would leave that to
/// their garbage collector.
#[derive(Debug)]
pub(super) struct Buffer(wgpu::Buffer);

impl Deref for Buffer {
    type Target = wgpu::Buffer;

    fn deref(&self) -> &wgpu::Buffer {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.destroy();
    }
}

/// A device that ends, with all that it holds, when it is dropped.
#[derive(Debug)]
pub(super) struct Device(wgpu::Device);

impl Deref for Device {
    type Target = wgpu::Device;

    fn deref(&self) -> &wgpu::Device {
        &self.0
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.0.destroy();
    }
}

/// A device with its queue.
#[derive(Debug, Clone)]
pub(super) struct Gpu {
    pub(super) device: Rc<Device>,
    pub(super) queue: wgpu::Queue,
    pub(super) adapter: wgpu::AdapterInfo,
    /// Whether shaders may multiply four bytes at once.
    pub(super) has_byte_products: bool,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// Keeps the first of several failures.
fn report(fault: &Mutex<Option<Fault>>, code: Code, message: String) {
    let mut slot = fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    slot.get_or_insert(Fault { code, message });
}

/// The size of a buffer for so many bytes: bindings of size zero are invalid, copies need whole words.
pub(super) fn buffer_size(bytes: u64) -> u64 {
    bytes.max(16).next_multiple_of(4)
}

/// Hands out the first bytes of a buffer that was to be mapped.
///
/// # Errors
/// `gpu` where it was not.
pub(super) fn take_mapped(
    buffer: &wgpu::Buffer,
    bytes: u64,
    mapped: std::result::Result<(), wgpu::BufferAsyncError>,
    take: impl FnOnce(&[u8]),
) -> Result<()> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
        Error::new(Code::Gpu, "reading back from the GPU failed; load the model again").with_cause(e)
    };
    mapped.map_err(|e| failed(Box::new(e)))?;
    let view = buffer.slice(..bytes).get_mapped_range().map_err(|e| failed(Box::new(e)))?;
    take(&view);
    Ok(())
}

fn code_of(error: &wgpu::Error) -> Code {
    match error {
        wgpu::Error::OutOfMemory { .. } => Code::OutOfMemory,
        _ => Code::Gpu,
    }
}

impl Gpu {
    /// Asks for the fast adapter and for as much of its buffer sizes as it has, and for no feature.
    ///
    /// # Errors
    /// `no-webgpu` where there is no adapter or it gives no device.
    pub(super) async fn request(options: &WebGpuOptions) -> Result<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            })
            .await
            .map_err(|e| {
                let hint = "no WebGPU adapter: use a browser with WebGPU switched on and an up-to-date graphics \
                            driver, or the backend \"cpu\"";
                Error::new(Code::NoWebgpu, hint).with_cause(e)
            })?;
        let mut limits = wgpu::Limits::default();
        if !options.default_limits {
            let offered = adapter.limits();
            limits.max_buffer_size = limits.max_buffer_size.max(offered.max_buffer_size);
            limits.max_storage_buffer_binding_size =
                limits.max_storage_buffer_binding_size.max(offered.max_storage_buffer_binding_size);
        }
        let features = match options.profile {
            true => adapter.features() & super::profile::features(),
            false => wgpu::Features::empty(),
        };
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("qwenlet"),
                required_features: features,
                required_limits: limits,
                memory_hints: wgpu::MemoryHints::MemoryUsage,
                ..Default::default()
            })
            .await
            .map_err(|e| {
                let hint =
                    "the WebGPU adapter gives no device: restart the browser, or use the backend \"cpu\"";
                Error::new(Code::NoWebgpu, hint).with_cause(e)
            })?;

        let fault = Arc::new(Mutex::new(None));
        let slot = fault.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| report(&slot, code_of(&e), e.to_string())));
        let slot = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            // To end it is no loss to anyone.
            if reason != wgpu::DeviceLostReason::Destroyed {
                report(&slot, Code::DeviceLost, message);
            }
        });
        let language = instance.wgsl_language_features();
        let has_byte_products = language.contains(wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct);
        let device = Rc::new(Device(device));
        Ok(Self { adapter: adapter.get_info(), device, queue, has_byte_products, fault })
    }

    /// # Errors
    /// The first failure that the device reported since it was made.
    pub(super) fn check(&self) -> Result<()> {
        let slot = self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*slot {
            None => Ok(()),
            Some(fault) => {
                let what = match fault.code {
                    Code::DeviceLost => "the GPU device was lost; load the model again",
                    Code::OutOfMemory => "the GPU has too little memory; choose a smaller model or context",
                    _ => "a GPU operation failed; load the model again",
                };
                Err(Error::new(fault.code, format!("{what}: {}", fault.message)))
            }
        }
    }

    /// Runs `make` and waits until the device has said whether it went well.
    ///
    /// # Errors
    /// `out-of-memory` or `gpu`, or what `make` returned.
    pub(super) async fn checked<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        let (made, reports) = self.watched(make);
        self.settled(reports).await?;
        made
    }

    /// Runs `make`; the reports are what the device will say of it.
    pub(super) fn watched<T>(&self, make: impl FnOnce() -> Result<T>) -> (Result<T>, Reports) {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = make();
        // Scopes close innermost first, before anything is awaited.
        (made, Reports([Box::pin(validation.pop()), Box::pin(internal.pop()), Box::pin(memory.pop())]))
    }

    /// Waits until the device has said whether it went well.
    ///
    /// # Errors
    /// `out-of-memory` or `gpu`.
    pub(super) async fn settled(&self, reports: Reports) -> Result<()> {
        let mut failure = None;
        for pending in reports.0 {
            if let Some(e) = pending.await {
                // Running out of memory makes what depends on the buffer invalid: report the cause.
                if failure.is_none() || matches!(e, wgpu::Error::OutOfMemory { .. }) {
                    failure = Some(e);
                }
            }
        }
        if let Some(e) = failure {
            let code = code_of(&e);
            report(&self.fault, code, e.to_string());
        }
        self.check()
    }

    /// Waits for a callback of the device, which comes once a submission is done, the last one if not said. Natively
    /// someone has to drive the device; a browser does by itself.
    ///
    /// # Errors
    /// `device-lost` or `gpu` where the callback never comes.
    pub(super) async fn wait<T>(
        &self,
        pending: impl Future<Output = std::result::Result<T, oneshot::Canceled>>,
        submission_index: Option<wgpu::SubmissionIndex>,
    ) -> Result<T> {
        #[cfg(target_arch = "wasm32")]
        let _ = submission_index; // a browser needs no polling
        #[cfg(not(target_arch = "wasm32"))]
        if let Err(e) = self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None }) {
            self.check()?;
            return Err(
                Error::new(Code::Gpu, "waiting for the GPU failed; load the model again").with_cause(e)
            );
        }
        let answer = pending.await;
        self.check()?;
        answer.map_err(|e| {
            Error::new(Code::DeviceLost, "the GPU gave no answer; load the model again").with_cause(e)
        })
    }

    /// Waits until everything submitted so far is done.
    pub(super) async fn idle(&self) -> Result<()> {
        let (done, _) = self.on_done();
        self.wait(done, None).await
    }

    /// Hears when everything submitted so far is done.
    pub(super) fn on_done(&self) -> (oneshot::Receiver<()>, wgpu::SubmissionIndex) {
        let (done, pending) = oneshot::channel();
        let submission = self.queue.submit(std::iter::empty());
        self.queue.on_submitted_work_done(move || {
            // The receiver is gone where nobody waits any more.
            let _ = done.send(());
        });
        (pending, submission)
    }

    /// Copies a mappable buffer's first bytes out, once the work submitted so far is done.
    pub(super) async fn read(
        &self,
        buffer: &wgpu::Buffer,
        bytes: u64,
        take: impl FnOnce(&[u8]),
    ) -> Result<()> {
        /// Unmaps the buffer also where the read is given up half-way, so that the next run can write to it.
        struct Mapping<'a>(&'a wgpu::Buffer);
        impl Drop for Mapping<'_> {
            fn drop(&mut self) {
                self.0.unmap();
            }
        }

        let slice = buffer.slice(..bytes);
        let (done, pending) = oneshot::channel();
        let mapping = Mapping(buffer);
        slice.map_async(wgpu::MapMode::Read, move |result| {
            let _ = done.send(result);
        });
        let mapped = self.wait(pending, None).await?;
        take_mapped(buffer, bytes, mapped, take)?;
        drop(mapping);
        Ok(())
    }

    pub(super) fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Buffer {
        Buffer(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: buffer_size(bytes),
            usage,
            mapped_at_creation: false,
        }))
    }
}
