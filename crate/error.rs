//! The one error type. A code is stable and the same in TypeScript (`pkg/src/errors.ts`).

use std::fmt;

/// What went wrong, as a stable name that a program can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// A request, option or argument is not usable as given.
    InvalidArgument,
    /// The bytes are not a well-formed GGUF file.
    InvalidGguf,
    /// The file ends before what its header announces.
    TruncatedFile,
    /// `general.architecture` is one that this build has no plan for.
    UnsupportedArchitecture,
    /// A tensor's type is one that this build has no kernels for.
    UnsupportedQuantization,
    /// The model's metadata or tensors contradict each other.
    InvalidModel,
    /// The tokenizer in the file cannot be built or used.
    Tokenizer,
    /// The chat template failed to parse or refused the messages.
    Template,
    /// Prompt and answer do not fit into the context.
    ContextFull,
    /// The caller cancelled.
    Aborted,
    /// The connection failed, broke off or was refused (CORS, CSP, DNS, reset).
    Network,
    /// The server answered with a status that is not a success.
    HttpStatus,
    /// The file on the server is another one than when its download began.
    FileChanged,
    /// The file is not the one that is pinned: its size or SHA-256 differs.
    Integrity,
    /// A local file or blob cannot be read.
    FileRead,
    /// The browser's storage failed.
    Cache,
    /// The browser's storage is full.
    QuotaExceeded,
    /// WebGPU was asked for and there is no usable adapter.
    NoWebgpu,
    /// The GPU device was lost.
    DeviceLost,
    /// A GPU allocation or operation failed.
    Gpu,
    /// Memory could not be had.
    OutOfMemory,
    /// The engine was unloaded, or a failure left it unusable: load it again.
    Unloaded,
    /// A bug of this package.
    Internal,
}

impl Code {
    /// Every code, for the test that holds the TypeScript list to this one.
    pub const ALL: &'static [Code] = &[
        Code::InvalidArgument,
        Code::InvalidGguf,
        Code::TruncatedFile,
        Code::UnsupportedArchitecture,
        Code::UnsupportedQuantization,
        Code::InvalidModel,
        Code::Tokenizer,
        Code::Template,
        Code::ContextFull,
        Code::Aborted,
        Code::Network,
        Code::HttpStatus,
        Code::FileChanged,
        Code::Integrity,
        Code::FileRead,
        Code::Cache,
        Code::QuotaExceeded,
        Code::NoWebgpu,
        Code::DeviceLost,
        Code::Gpu,
        Code::OutOfMemory,
        Code::Unloaded,
        Code::Internal,
    ];

    /// The name that crosses to JavaScript.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid-argument",
            Code::InvalidGguf => "invalid-gguf",
            Code::TruncatedFile => "truncated-file",
            Code::UnsupportedArchitecture => "unsupported-architecture",
            Code::UnsupportedQuantization => "unsupported-quantization",
            Code::InvalidModel => "invalid-model",
            Code::Tokenizer => "tokenizer",
            Code::Template => "template",
            Code::ContextFull => "context-full",
            Code::Aborted => "aborted",
            Code::Network => "network",
            Code::HttpStatus => "http-status",
            Code::FileChanged => "file-changed",
            Code::Integrity => "integrity",
            Code::FileRead => "file-read",
            Code::Cache => "cache",
            Code::QuotaExceeded => "quota-exceeded",
            Code::NoWebgpu => "no-webgpu",
            Code::DeviceLost => "device-lost",
            Code::Gpu => "gpu",
            Code::OutOfMemory => "out-of-memory",
            Code::Unloaded => "unloaded",
            Code::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure: a stable code, what was wrong and what to do, and where it happened.
#[derive(Debug)]
pub struct Error {
    code: Code,
    message: String,
    /// Outermost last: "tensor blk.0.attn_q.weight", "loading model.gguf".
    context: Vec<String>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), context: Vec::new(), cause: None }
    }

    pub fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context.push(context.into());
        self
    }

    pub fn code(&self) -> Code {
        self.code
    }

    /// The message with its context, outermost first, without the cause.
    pub fn message(&self) -> String {
        let mut text = String::new();
        for c in self.context.iter().rev() {
            text.push_str(c);
            text.push_str(": ");
        }
        text.push_str(&self.message);
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message())?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_deref().map(|c| c as &(dyn std::error::Error + 'static))
    }
}

/// Adds context to the error of a result.
pub trait ResultExt<T> {
    fn context<C: Into<String>>(self, context: impl FnOnce() -> C) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context<C: Into<String>>(self, context: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|e| e.context(context()))
    }
}
