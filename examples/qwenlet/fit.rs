//! `fit`: what a model needs, from its header or from an outline of it.

use qwenlet::engine::fit::{Candidate, FitOptions, Machine, Subject, fit};
use qwenlet::engine::{BackendChoice, read_header};
use qwenlet::model::Model;
use qwenlet::{Error, Result};
use serde_json::{Value, json};

use crate::args::Args;
use crate::model;

pub(crate) fn run(args: &Args) -> Result<Value> {
    let options =
        FitOptions { backend: args.backend, context_length: args.context()?, ..FitOptions::default() };
    let Some(path) = &args.outlines else {
        let mut open = model::parts(args.file()?);
        let (model, bytes) = pollster::block_on(read_header(&mut open))?;
        return judge(&model, bytes, options);
    };
    let outlines: Vec<Candidate> = serde_json::from_str(&model::read_text(path)?)
        .map_err(|e| Error::invalid_argument(format!("{path} is no list of outlines")).with_cause(e))?;
    let each = outlines.iter().map(|Candidate { id, outline }| {
        let model = Model::from_outline(outline)?;
        let bytes = outline.file_bytes();
        let on = |backend| judge(&model, Some(bytes), FitOptions { backend, ..options });
        Ok(json!({
            "id": id,
            "fileBytes": bytes,
            "cpu": on(BackendChoice::Cpu)?,
            "webgpu": on(BackendChoice::WebGpu)?,
        }))
    });
    Ok(Value::Array(each.collect::<Result<_>>()?))
}

fn judge(model: &Model, to_store: Option<u64>, options: FitOptions) -> Result<Value> {
    let subject = Subject { plan: &model.plan, trained_context: model.config.context_length, to_store };
    let fit = fit(subject, options, &Machine::default(), &[])?;
    serde_json::to_value(&fit).map_err(|e| Error::internal("a verdict is no JSON").with_cause(e))
}
