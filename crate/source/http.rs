//! A model over HTTP: one `fetch` in the worker, read front to back as it arrives.

use futures_util::future::LocalBoxFuture;
use js_sys::{Function, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortSignal, Headers, ReadableStreamDefaultReader, ReadableStreamReadResult, ReferrerPolicy,
    RequestCache, RequestInit, Response, WorkerGlobalScope,
};

use super::Source;
use super::browser::{aborted, describe};
use crate::error::{Code, Error, Result};

/// The body of a response.
pub(crate) struct HttpSource {
    name: String,
    host: String,
    reader: ReadableStreamDefaultReader,
    signal: AbortSignal,
    total: Option<u64>,
    received: u64,
    etag: Option<String>,
    chunk: Vec<u8>,
}

impl HttpSource {
    /// Sends the request and waits for the response's headers. The browser follows redirects.
    ///
    /// # Errors
    /// `network` where there is no response (offline, DNS, CORS, CSP: a page is not told which), `http-status` where it
    /// is not a success, `aborted`.
    pub(crate) async fn open(
        url: &str,
        name: &str,
        headers: &[(String, String)],
        fetcher: Option<&Function>,
        signal: &AbortSignal,
    ) -> Result<Self> {
        let init = RequestInit::new();
        init.set_signal(Some(signal));
        // The browser's own cache would keep a second copy, and a page's address is no business of a model's host.
        init.set_cache(RequestCache::NoStore);
        init.set_referrer_policy(ReferrerPolicy::NoReferrer);
        init.set_headers(request_headers(headers)?.as_ref());

        let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
        let host = host_of(url);
        let sent = match fetcher {
            None => Ok(scope.fetch_with_str_and_init(url, &init)),
            Some(fetcher) => call(fetcher, url, headers, signal),
        };
        let answered = match sent {
            Ok(promise) => JsFuture::from(promise).await,
            Err(e) => Err(e),
        };
        let response = answered
            .map_err(|e| if signal.aborted() { aborted() } else { unreachable(&scope, &host, &e) })?;
        let response: Response = response.unchecked_into();
        if !response.ok() {
            return Err(status_error(&response, name));
        }
        let header = |name: &str| response.headers().get(name).ok().flatten();
        // Content-Length counts encoded bytes, what is read here is decoded.
        let encoded = header("content-encoding").is_some_and(|e| !e.eq_ignore_ascii_case("identity"));
        let total = header("content-length").and_then(|n| n.parse().ok()).filter(|_| !encoded);
        let body = response.body().ok_or_else(|| {
            Error::new(Code::Network, format!("{host} answered for {name} without any content"))
        })?;
        Ok(Self {
            name: name.to_owned(),
            host,
            reader: body.get_reader().unchecked_into(),
            signal: signal.clone(),
            total,
            received: 0,
            etag: header("etag").or_else(|| header("last-modified")),
            chunk: Vec::new(),
        })
    }

    /// What tells one version of the file from another, where the server says.
    pub(crate) fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    async fn read(&mut self) -> Result<&[u8]> {
        self.chunk.clear();
        while self.chunk.is_empty() {
            let read = JsFuture::from(self.reader.read()).await.map_err(|e| self.broken(Some(&e)))?;
            let read: ReadableStreamReadResult = read.unchecked_into();
            if read.get_done().unwrap_or(false) {
                // Browsers differ in whether a body that ends early is an error.
                return match self.total {
                    Some(total) if self.received < total => Err(self.broken(None)),
                    _ => Ok(&[]),
                };
            }
            let bytes: Uint8Array = read.get_value().unchecked_into();
            let n = bytes.length() as usize;
            self.chunk.resize(n, 0);
            bytes.copy_to(&mut self.chunk);
            self.received += n as u64;
            // An encoding that the server does not let the page see: then its length means nothing either.
            self.total = self.total.filter(|&total| self.received <= total);
        }
        Ok(&self.chunk)
    }

    fn broken(&self, cause: Option<&JsValue>) -> Error {
        if self.signal.aborted() {
            return aborted();
        }
        let of = self.total.map_or(String::new(), |total| format!(" of {total}"));
        let error = Error::new(
            Code::Network,
            format!(
                "the connection to {} broke off after {}{of} bytes of {}; try again",
                self.host, self.received, self.name
            ),
        );
        match cause {
            Some(cause) => error.with_cause(describe(cause)),
            None => error,
        }
    }
}

impl Source for HttpSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> Option<u64> {
        self.total
    }

    fn next(&mut self) -> LocalBoxFuture<'_, Result<&[u8]>> {
        Box::pin(self.read())
    }
}

impl Drop for HttpSource {
    /// Stops the download where it was not read to the end.
    fn drop(&mut self) {
        let cancelled = JsFuture::from(self.reader.cancel());
        wasm_bindgen_futures::spawn_local(async {
            // A stream that broke or was aborted cannot be cancelled again; there is nothing left to stop.
            let _ = cancelled.await;
        });
    }
}

/// Asks the caller's own function, which takes plain objects.
fn call(
    fetcher: &Function,
    url: &str,
    headers: &[(String, String)],
    signal: &AbortSignal,
) -> std::result::Result<Promise, JsValue> {
    let (init, fields) = (Object::new(), Object::new());
    for (name, value) in headers {
        Reflect::set(&fields, &name.into(), &value.into())?;
    }
    Reflect::set(&init, &"headers".into(), &fields)?;
    Reflect::set(&init, &"signal".into(), signal)?;
    Ok(fetcher.call2(&JsValue::NULL, &url.into(), &init)?.unchecked_into())
}

fn request_headers(headers: &[(String, String)]) -> Result<Headers> {
    let invalid = |name: &str, e: &JsValue| {
        Error::invalid_argument(format!("headers: {name:?} cannot be sent")).with_cause(describe(e))
    };
    let out = Headers::new().map_err(|e| Error::internal("no request headers").with_cause(describe(&e)))?;
    for (name, value) in headers {
        out.set(name, value).map_err(|e| invalid(name, &e))?;
    }
    Ok(out)
}

fn unreachable(scope: &WorkerGlobalScope, host: &str, cause: &JsValue) -> Error {
    let message = if scope.navigator().on_line() {
        format!(
            "no answer from {host}: it is down or unreachable, does not let this page read it (CORS), or the page's \
             Content-Security-Policy (connect-src) forbids it; or download the file and open it from disk"
        )
    } else {
        format!("this device is offline; connect it to load from {host}, or use a model from the cache")
    };
    Error::new(Code::Network, message).with_cause(describe(cause))
}

fn status_error(response: &Response, name: &str) -> Error {
    let status = response.status();
    let what = match status {
        401 | 403 => "access is refused; if the model needs a token, pass it in `headers`",
        404 | 410 => "there is no such file; check the address",
        429 => "too many requests; wait a while and try again",
        500.. => "the server has a problem; try again later",
        _ => "the server refuses; check the address",
    };
    Error::new(
        Code::HttpStatus,
        format!("HTTP status {status} for {name} ({}): {what}", host_of(&response.url())),
    )
}

fn host_of(url: &str) -> String {
    web_sys::Url::new(url).map_or_else(|_| url.to_owned(), |u| u.host())
}
