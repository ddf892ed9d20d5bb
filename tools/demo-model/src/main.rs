//! Makes and examines the demo model: `cargo run --release -p demo-model -- help`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use demo_model::data::{self, Skill};
use demo_model::encode::Encoder;
use demo_model::evaluate::{Pupil, Score};
use demo_model::export;
use demo_model::recipe;
use demo_model::train::{self, Example, Model, Report};
use demo_model::vocabulary::Vocabulary;
use lexopt::prelude::*;
use qwenlet::engine::BackendChoice;

const HELP: &str = "\
demo-model COMMAND

  check [FILE] [--questions N] [--before N] [--backend cpu|webgpu] [--skill NAME]
          makes data and tokenizer anew, compares them bit for bit with those that FILE was made from, and asks FILE N
          questions of each skill, or of one, (100) that it was not trained on, each after N others (0), on both backends or
          on one
  train [--seed N] [--threads N] [--steps N] [--dir DIR]
          trains from nothing, or from where it was stopped, in DIR (target/demo-model); writes the file there
  show [--skill NAME] [-n N]
          dialogues of the test

FILE is the one that ships, tools/demo-model/qwenlet-demo.gguf, if none is given.
";

/// The file that ships.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/qwenlet-demo.gguf");

/// What each skill has to reach.
const PASS: f64 = 0.9;

/// Of the questions of the test.
const TEST_SEED: u64 = 2026;

#[derive(Debug, Default)]
struct Args {
    file: Option<PathBuf>,
    questions: Option<usize>,
    before: usize,
    backend: Option<BackendChoice>,
    seed: u64,
    threads: Option<usize>,
    steps: Option<u64>,
    dir: Option<PathBuf>,
    skill: Option<Skill>,
}

impl Args {
    /// The skill that is named, or all.
    fn skills(&self) -> impl Iterator<Item = Skill> + use<> {
        let wanted = self.skill;
        Skill::ALL.into_iter().filter(move |&skill| wanted.is_none_or(|wanted| wanted == skill))
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("demo-model: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut parser = lexopt::Parser::from_env();
    let command = match parser.next()? {
        Some(Value(name)) => name.string()?,
        _ => "help".to_owned(),
    };
    let mut args = Args { seed: 1, ..Args::default() };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("questions") | Short('n') => args.questions = Some(parser.value()?.parse()?),
            Long("before") => args.before = parser.value()?.parse()?,
            Long("backend") => args.backend = Some(backend(&parser.value()?.string()?)?),
            Long("seed") => args.seed = parser.value()?.parse()?,
            Long("threads") => args.threads = Some(parser.value()?.parse()?),
            Long("steps") => args.steps = Some(parser.value()?.parse()?),
            Long("dir") => args.dir = Some(parser.value()?.into()),
            Long("skill") => {
                let name = parser.value()?.string()?;
                let skill = Skill::ALL.into_iter().find(|s| s.name() == name);
                args.skill = Some(skill.with_context(|| format!("no skill is called {name:?}"))?);
            }
            Value(file) if args.file.is_none() => args.file = Some(file.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    match command.as_str() {
        "check" => check(&args),
        "train" => train(&args),
        "show" => show(&args),
        "help" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("there is no command {other:?}\n\n{HELP}"),
    }
}

fn backend(name: &str) -> Result<BackendChoice> {
    match name {
        "cpu" => Ok(BackendChoice::Cpu),
        "webgpu" => Ok(BackendChoice::WebGpu),
        other => bail!("{other:?} is no backend: cpu or webgpu"),
    }
}

fn check(args: &Args) -> Result<()> {
    let file = args.file.clone().unwrap_or_else(|| SHIPPED.into());
    let vocabulary = Vocabulary::train(recipe::DATA_SEED)?;
    let encoder = Encoder::new(&vocabulary)?;
    export::compare(&file, &vocabulary, &recipe::data_digest(&encoder)?)?;
    println!("data and tokenizer: bit for bit those that {} was made from", file.display());
    let backends = match args.backend {
        Some(one) => vec![one],
        None => vec![BackendChoice::Cpu, BackendChoice::WebGpu],
    };
    let asked = args.questions.unwrap_or(100);
    let mut pupils = backends.iter().map(|&b| Pupil::load(&file, b)).collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = pupils.iter().map(|p| p.backend().to_owned()).collect();
    println!("\n| skill, right of {asked} | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
    let (mut failed, mut wrong) = (Vec::new(), Vec::new());
    for skill in args.skills() {
        let scores: Vec<Score> = pupils
            .iter_mut()
            .map(|p| p.examine(skill, asked, args.before, TEST_SEED))
            .collect::<Result<_>>()?;
        let right: Vec<usize> = scores.iter().map(|s| s.right).collect();
        let cells: Vec<String> = right.iter().map(usize::to_string).collect();
        println!("| {} | {} |", skill.name(), cells.join(" | "));
        if right.iter().any(|&r| (r as f64) < PASS * asked as f64) {
            failed.push(format!("{} knows too little", skill.name()));
        }
        if right.iter().max() > right.iter().min().map(|m| m + 1).as_ref() {
            failed.push(format!("{}: the backends differ by more than one answer", skill.name()));
        }
        wrong.extend(scores.into_iter().flat_map(|s| s.wrong));
    }
    println!("\nwrong:");
    wrong.iter().for_each(|w| println!("  {w}"));
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(())
}

/// Questions of each skill that are scored while training goes on.
const PROBES: usize = 50;

fn train(args: &Args) -> Result<()> {
    let dir = args.dir.clone().unwrap_or_else(|| "target/demo-model".into());
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let threads = match args.threads {
        Some(n) => n,
        None => std::thread::available_parallelism()?.get(),
    };
    let mut options = recipe::options(threads, Some(dir.join("checkpoint.safetensors")));
    options.steps = args.steps.unwrap_or(options.steps);
    let vocabulary = Vocabulary::train(recipe::DATA_SEED)?;
    let encoder = Encoder::new(&vocabulary)?;
    let digest = recipe::data_digest(&encoder)?;
    let mut model = Model::new(recipe::config(), args.seed);
    let probes = Skill::ALL
        .into_iter()
        .map(|skill| {
            // Not the questions of `check`.
            let set = data::test_set(skill, PROBES, TEST_SEED + 1);
            Ok((skill, set.iter().map(|d| encoder.question(d)).collect::<Result<Vec<Example>>>()?))
        })
        .collect::<Result<Vec<_>>>()?;
    let file = dir.join("qwenlet-demo.gguf");
    let start = Instant::now();
    let mut failure = None;
    let on_step = |r: &Report| {
        if r.step.is_multiple_of(20) {
            println!(
                "step {} of {}: loss {:.4}, {:.0} tokens/s, {:.0?} so far",
                r.step,
                options.steps,
                r.loss,
                r.tokens_per_second(),
                start.elapsed()
            );
        }
        if r.step.is_multiple_of(options.checkpoint_every) {
            let model = r.averaged();
            println!("  {}", scores(&model, &probes));
            if let Err(e) = write(&model, &vocabulary, &digest, &file) {
                failure = Some(e);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    };
    let source =
        |step, part| recipe::examples(&encoder, args.seed, step, part).expect("the template takes it");
    let trained = train::train(&mut model, &options, source, on_step)?;
    if let Some(e) = failure {
        return Err(e);
    }
    write(&trained, &vocabulary, &digest, &file)?;
    println!("{}\n{} after {:.0?}", scores(&trained, &probes), file.display(), start.elapsed());
    Ok(())
}

fn write(model: &Model, vocabulary: &Vocabulary, digest: &str, file: &Path) -> Result<()> {
    let partial = file.with_extension("partial");
    std::fs::write(&partial, export::gguf(model, vocabulary, digest)?)?;
    std::fs::rename(&partial, file).with_context(|| file.display().to_string())
}

/// Percent of answers that would be exact, a skill.
fn scores(model: &Model, probes: &[(Skill, Vec<Example>)]) -> String {
    let one = |(skill, examples): &(Skill, Vec<Example>)| {
        let exact = train::score(model, examples).exact;
        format!("{} {}", skill.name(), 100 * exact.iter().filter(|&&e| e).count() / exact.len().max(1))
    };
    probes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn show(args: &Args) -> Result<()> {
    let encoder = Encoder::new(&Vocabulary::train(recipe::DATA_SEED)?)?;
    for skill in args.skills() {
        println!("\n## {}", skill.name());
        for dialogue in data::test_set(skill, args.questions.unwrap_or(5), TEST_SEED) {
            let tokens = encoder.example(&dialogue)?.tokens;
            println!("\n{}", encoder.tokenizer().decode(&tokens, false));
        }
    }
    Ok(())
}
