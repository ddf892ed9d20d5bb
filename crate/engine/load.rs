//! From sources to an engine, in one pass: tensors go from the stream to the backend as they arrive.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::{LocalBoxFuture, join};

use super::prepare::{Ready, Stop, Suspect, Target, Trials, Wish, context_length, open_gpu, run_limits};
use super::{Engine, EngineInfo, LoadOptions, Phase, Progress, Texts};
use crate::backend::Backend;
use crate::chat::{self, Capabilities, ChatTemplate, Thinking};
use crate::error::{Code, Error, Result, ResultExt};
use crate::gguf::{self, Header, ModelFiles, Parsed, TensorInfo};
use crate::model::Model;
use crate::plan::{Plan, WeightId};
use crate::quant::GgmlType;
use crate::sampler;
use crate::session::Session;
use crate::source::Source;
use crate::tokenizer::Tokenizer;

/// Opens part `n` (0-based) of a model; parts after the first are asked for where the header says so.
pub type OpenPart<'a> = dyn FnMut(usize) -> LocalBoxFuture<'a, Result<Box<dyn Source>>> + 'a;

/// Bytes uploaded before the backend is asked to catch up with as many before them.
const FLUSH_BYTES: usize = 16 << 20;
/// Bytes uploaded before others get their turn; small pieces come with turns of their own.
const PAUSE_BYTES: usize = 1 << 20;

/// Told how far the load is; a break ends it.
type OnProgress<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

impl Engine {
    /// Reads a model front to back and prepares it. A break from `on_progress` ends the load with `aborted`.
    ///
    /// # Errors
    /// What the source, the file, the model or the backend has to say; see [`Code`].
    pub async fn load(
        open: &mut OpenPart<'_>,
        options: LoadOptions,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self> {
        let suspect = RefCell::default();
        loop {
            if let Some(engine) = Self::attempt(open, &options, on_progress, &suspect).await? {
                return Ok(engine);
            }
        }
    }

    /// The same, but `None` where the GPU turned out to compute wrongly while weights arrived: to be called again, with
    /// parts that are opened anew and with the same `suspect`, which is empty at first. That is called for once at most.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub async fn attempt(
        open: &mut OpenPart<'_>,
        options: &LoadOptions,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
        suspect: &RefCell<Option<Suspect>>,
    ) -> Result<Option<Self>> {
        match Self::try_kernels(open, options, on_progress, suspect.take()).await {
            Ok(engine) => Ok(Some(engine)),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Suspect(found)) => {
                suspect.replace(Some(found));
                Ok(None)
            }
        }
    }

    async fn try_kernels(
        open: &mut OpenPart<'_>,
        options: &LoadOptions,
        on_progress: OnProgress<'_>,
        suspect: Option<Suspect>,
    ) -> Result<Self, Stop> {
        let mut progress = Tracker { on_progress, phase: Phase::Header, bytes: 0, total: None };
        // The request goes out first: opening a GPU may hold this thread up.
        let (opened, gpu) = join(open_parts(open, &mut progress), open_gpu(options)).await;
        let (files, mut parts) = opened?;

        let metadata = files.metadata();
        let model = Model::new(&files)?;
        let name = model.config.name.as_deref();
        let recommend = |thinking| sampler::recommended(metadata, &model.config.architecture, name, thinking);
        let recommended = [recommend(false)?, recommend(true)?];
        let trained = model.config.context_length;
        let context = context_length(trained, options.context_length)?;
        let trials = Trials::of(&model);
        let plan = Arc::new(model.plan);
        let wish = Wish { options, plan: &plan, trials, trained_context: trained, context };
        // A GPU compiles what its check needs while the vocabulary is read.
        let choice = wish.choose(gpu, suspect).await?;
        let tokenizer = Tokenizer::from_metadata(metadata)?;
        let source = match metadata.str("tokenizer.chat_template")? {
            Some(source) => source,
            None => chat::builtin(&model.config.architecture),
        };
        let template = ChatTemplate::new(source, Some(&tokenizer), chat::system_clock);
        let can = template
            .as_ref()
            .map_or(Capabilities { tools: false, thinking: Thinking::None }, ChatTemplate::capabilities);
        let parameters = files.tensors().map(|t| t.info.n_elements()).sum();
        let quantization = main_type(&files).map_or("", |t| t.name()).to_owned();
        // The vocabulary is megabytes, and no longer needed.
        let tensors = tensors_by_part(files);

        let mut target = choice.prepare(&wish).await?;
        progress.enter(Phase::Weights)?;
        stream_weights(&mut parts, tensors, &plan, &mut target, &mut progress, options).await?;
        progress.enter(Phase::Prepare)?;
        let Ready { backend, why, self_check } = target.finish().await?;

        let on = backend.info();
        let limits = run_limits(context, on.kind);
        let info = EngineInfo {
            architecture: model.config.architecture,
            name: model.config.name,
            quantization,
            parameters,
            context_length: context,
            trained_context_length: trained,
            n_vocab: plan.n_vocab,
            backend: on.kind.as_str().to_owned(),
            adapter: on.adapter.clone(),
            features: on.features.clone(),
            threads: on.n_threads,
            why,
            self_check,
            memory_bytes: backend.memory_bytes(),
            supports_tools: can.tools,
            supports_thinking: can.thinking != Thinking::None,
        };
        progress.enter(Phase::Ready)?;
        Ok(Self {
            info,
            texts: Rc::new(Texts { tokenizer, template, n_vocab: plan.n_vocab }),
            backend,
            session: Session::new(limits.n_pages, limits.max_rows),
            recommended,
            pause: options.pause.clone(),
        })
    }
}

/// Reads a model to its end without loading it. What is no model, or ends too early, is told.
///
/// # Errors
/// What the source has to say, and `invalid-gguf`, `truncated-file`, `aborted`.
pub async fn read_through(
    open: &mut OpenPart<'_>,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<()> {
    let mut progress = Tracker { on_progress, phase: Phase::Header, bytes: 0, total: None };
    let (files, mut parts) = open_parts(open, &mut progress).await?;
    progress.enter(Phase::Weights)?;
    for (part, tensors) in parts.iter_mut().zip(tensors_by_part(files)) {
        let mut read = part.read.len() as u64;
        part.read = Vec::new();
        loop {
            let n = part.source.next().await?.len() as u64;
            if n == 0 {
                break;
            }
            read += n;
            progress.advance(n)?;
        }
        let end = tensors.iter().map(|t| t.offset + t.bytes).max().unwrap_or(0);
        if read < end {
            let message = format!("the file ends after {read} bytes, {end} are needed: fetch it again");
            return Err(Error::new(Code::TruncatedFile, message).context(part.source.name().to_owned()));
        }
    }
    progress.enter(Phase::Ready)
}

/// Reads the headers of a model and nothing more: what it is, and its bytes in all, where known.
///
/// # Errors
/// What the source or the header has to say.
pub async fn read_header(open: &mut OpenPart<'_>) -> Result<(Model, Option<u64>)> {
    let mut on_progress = |_| ControlFlow::Continue(());
    let mut progress = Tracker { on_progress: &mut on_progress, phase: Phase::Header, bytes: 0, total: None };
    let (files, _) = open_parts(open, &mut progress).await?;
    Ok((Model::new(&files)?, progress.total))
}

/// Reports progress and turns a break into `aborted`.
struct Tracker<'a> {
    on_progress: OnProgress<'a>,
    phase: Phase,
    bytes: u64,
    total: Option<u64>,
}

impl Tracker<'_> {
    fn report(&mut self) -> Result<()> {
        let progress = Progress { phase: self.phase, bytes: self.bytes, total: self.total };
        match (self.on_progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::new(Code::Aborted, "the load was cancelled")),
        }
    }

    fn enter(&mut self, phase: Phase) -> Result<()> {
        self.phase = phase;
        self.report()
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        self.report()
    }
}

/// One file of a model, read as far as its header.
struct Part {
    source: Box<dyn Source>,
    /// What was read: the header and the first bytes behind it.
    read: Vec<u8>,
}

/// The type that holds the most bytes.
fn main_type(files: &ModelFiles) -> Option<GgmlType> {
    let mut bytes: BTreeMap<GgmlType, u64> = BTreeMap::new();
    for t in files.tensors() {
        *bytes.entry(t.info.ty).or_default() += t.info.bytes;
    }
    bytes.into_iter().max_by_key(|&(_, n)| n).map(|(ty, _)| ty)
}

fn tensors_by_part(files: ModelFiles) -> Vec<Vec<TensorInfo>> {
    files.parts().iter().map(|header| header.tensors.clone()).collect()
}

/// Opens every part and reads their headers: the plan needs all of them before the first weight.
async fn open_parts(open: &mut OpenPart<'_>, progress: &mut Tracker<'_>) -> Result<(ModelFiles, Vec<Part>)> {
    let (header, mut part) = open_part(open, 0, progress).await?;
    let name = part.source.name().to_owned();
    let mut files = ModelFiles::new(header).context(|| name)?;
    part.source.announce(files.n_parts());
    let mut parts = vec![part];
    while !files.is_complete() {
        parts.iter_mut().for_each(|part| part.source.park());
        let (header, part) = open_part(open, parts.len(), progress).await?;
        files.add(header).context(|| part.source.name().to_owned())?;
        parts.push(part);
    }
    // The first part is read next.
    parts.iter_mut().skip(1).for_each(|part| part.source.park());
    Ok((files, parts))
}

async fn open_part(open: &mut OpenPart<'_>, n: usize, progress: &mut Tracker<'_>) -> Result<(Header, Part)> {
    let mut source = open(n).await?;
    let name = source.name().to_owned();
    let len = source.len();
    progress.total = match (progress.total, n) {
        (_, 0) => len,
        (sum, _) => sum.zip(len).map(|(a, b)| a + b),
    };
    let mut read = Vec::new();
    let mut needed = 0;
    let header = loop {
        let chunk = source.next().await?;
        if chunk.is_empty() {
            // That is all there is: it has the whole header, or parsing says which field is cut off.
            match gguf::parse(&read, Some(read.len() as u64)).context(|| name.clone())? {
                Parsed::Header(header) => break *header,
                Parsed::NeedMore(n) => {
                    let message = format!("the file ends after {} bytes, {n} are needed", read.len());
                    return Err(Error::new(Code::TruncatedFile, message).context(name));
                }
            }
        }
        read.extend_from_slice(chunk);
        let bytes = chunk.len() as u64;
        progress.advance(bytes)?;
        if (read.len() as u64) < needed {
            continue;
        }
        match gguf::parse(&read, len).context(|| name.clone())? {
            Parsed::Header(header) => break *header,
            // Parsing restarts at the front: let the prefix at least double in between.
            Parsed::NeedMore(n) => needed = n.max(2 * read.len() as u64),
        }
        if let Some(len) = len {
            needed = needed.min(len);
        }
    };
    Ok((header, Part { source, read }))
}

/// Sends every tensor of the plan to the backend, in file order.
async fn stream_weights(
    parts: &mut [Part],
    tensors: Vec<Vec<TensorInfo>>,
    plan: &Plan,
    target: &mut Target,
    progress: &mut Tracker<'_>,
    options: &LoadOptions,
) -> Result<(), Stop> {
    let weights: HashMap<&str, WeightId> =
        plan.weights.iter().enumerate().map(|(i, w)| (w.name.as_str(), WeightId(i as u32))).collect();
    for (part, tensors) in parts.iter_mut().zip(tensors) {
        let name = part.source.name().to_owned();
        let mut uploader = Uploader::new(tensors, &weights, plan);
        let pushed = uploader.push(&std::mem::take(&mut part.read), target.backend());
        pushed.context(|| name.clone()).map_err(|e| target.stop(e))?;
        let (mut unflushed, mut unpaused) = (0, 0);
        let mut before: Option<LocalBoxFuture<'_, Result<()>>> = None;
        while !uploader.is_done() {
            let chunk = target.meanwhile(part.source.next()).await??;
            if chunk.is_empty() {
                return Err(uploader.truncated().context(name).into());
            }
            let n = chunk.len();
            uploader.push(chunk, target.backend()).context(|| name.clone()).map_err(|e| target.stop(e))?;
            progress.advance(n as u64)?;
            unflushed += n;
            if unflushed >= FLUSH_BYTES {
                unflushed = 0;
                if let Some(before) = before.replace(target.backend().flush()) {
                    target.meanwhile(before).await?.map_err(|e| target.stop(e))?;
                }
            }
            unpaused += n;
            if unpaused >= PAUSE_BYTES
                && let Some(pause) = &options.pause
            {
                unpaused = 0;
                pause().await;
            }
        }
        // Padding and what else follows the last tensor: a source that fills a cache has to see the end.
        loop {
            let n = target.meanwhile(part.source.next()).await??.len();
            if n == 0 {
                break;
            }
            progress.advance(n as u64)?;
        }
    }
    Ok(())
}

/// Cuts a stream of bytes into whole rows of tensors.
struct Uploader<'a> {
    /// By offset; the next one is at `next`.
    tensors: Vec<TensorInfo>,
    next: usize,
    weights: &'a HashMap<&'a str, WeightId>,
    plan: &'a Plan,
    /// Position in the file.
    position: u64,
    /// Rows of the current tensor that are uploaded.
    rows_done: u32,
    /// The beginning of a row whose end has not arrived.
    partial: Vec<u8>,
}

impl<'a> Uploader<'a> {
    /// `tensors` of one file, in the order of their data.
    fn new(mut tensors: Vec<TensorInfo>, weights: &'a HashMap<&'a str, WeightId>, plan: &'a Plan) -> Self {
        tensors.retain(|t| weights.contains_key(t.name.as_str()));
        Self { tensors, next: 0, weights, plan, position: 0, rows_done: 0, partial: Vec::new() }
    }

    fn is_done(&self) -> bool {
        self.next == self.tensors.len()
    }

    fn truncated(&self) -> Error {
        let tensor = &self.tensors[self.next];
        Error::new(
            Code::TruncatedFile,
            format!(
                "the file ends after {} bytes, inside tensor {} at {}..{}: fetch it again",
                self.position,
                tensor.name,
                tensor.offset,
                tensor.offset + tensor.bytes
            ),
        )
    }

    fn push(&mut self, mut chunk: &[u8], backend: &mut dyn Backend) -> Result<()> {
        while !chunk.is_empty() && !self.is_done() {
            let tensor = &self.tensors[self.next];
            let end = tensor.offset + tensor.bytes;
            if self.position < tensor.offset {
                let skip = (tensor.offset - self.position).min(chunk.len() as u64) as usize;
                chunk = &chunk[skip..];
                self.position += skip as u64;
                continue;
            }
            let n = (end - self.position).min(chunk.len() as u64) as usize;
            self.rows(&chunk[..n], backend).context(|| format!("tensor {}", self.tensors[self.next].name))?;
            chunk = &chunk[n..];
            self.position += n as u64;
            if self.position == end {
                self.next += 1;
                self.rows_done = 0;
            }
        }
        self.position += chunk.len() as u64;
        Ok(())
    }

    /// Uploads the whole rows of `bytes`, which continue the current tensor, and keeps the rest.
    fn rows(&mut self, mut bytes: &[u8], backend: &mut dyn Backend) -> Result<()> {
        let id = self.weights[self.tensors[self.next].name.as_str()];
        let weight = self.plan.weight(id);
        let row_bytes = (self.tensors[self.next].bytes / u64::from(weight.rows)) as usize;
        if !self.partial.is_empty() {
            let n = (row_bytes - self.partial.len()).min(bytes.len());
            self.partial.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.partial.len() < row_bytes {
                return Ok(());
            }
            backend.upload(id, self.rows_done, &self.partial)?;
            self.partial.clear();
            self.rows_done += 1;
        }
        let whole = bytes.len() / row_bytes;
        if whole > 0 {
            backend.upload(id, self.rows_done, &bytes[..whole * row_bytes])?;
            self.rows_done += whole as u32;
        }
        self.partial.extend_from_slice(&bytes[whole * row_bytes..]);
        Ok(())
    }
}
