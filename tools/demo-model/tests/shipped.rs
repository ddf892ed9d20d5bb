//! The file that ships, asked by the engine. `demo-model check` asks more.

use std::path::Path;

use demo_model::data::Skill;
use demo_model::encode::Encoder;
use demo_model::evaluate::Pupil;
use demo_model::{export, recipe, vocabulary::Vocabulary};
use qwenlet::Code;
use qwenlet::engine::BackendChoice;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/qwenlet-demo.gguf");

/// Other questions than those of `check`.
const SEED: u64 = 7;

#[test]
fn it_was_made_from_these_data() {
    let vocabulary = Vocabulary::train(recipe::DATA_SEED).unwrap();
    let encoder = Encoder::new(&vocabulary).unwrap();
    export::compare(Path::new(SHIPPED), &vocabulary, &recipe::data_digest(&encoder).unwrap()).unwrap();
    let bytes = std::fs::metadata(SHIPPED).unwrap().len();
    assert!(bytes < 4 << 20, "{bytes} bytes are more than a page should fetch for a demonstration");
}

#[test]
fn it_knows_each_skill_on_the_cpu() {
    let mut pupil = Pupil::load(Path::new(SHIPPED), BackendChoice::Cpu).unwrap();
    for skill in Skill::ALL {
        // So many that what lies a little above 90 % is not below it by chance.
        let score = pupil.examine(skill, 200, 0, SEED).unwrap();
        println!("{}: {} of 200", skill.name(), score.right);
        assert!(
            score.right >= 180,
            "{}: {} of 200 right\n{}",
            skill.name(),
            score.right,
            score.wrong.join("\n")
        );
    }
}

#[test]
fn it_says_the_same_on_webgpu() {
    let mut gpu = match Pupil::load(Path::new(SHIPPED), BackendChoice::WebGpu) {
        Ok(pupil) => pupil,
        Err(e) if e.downcast_ref::<qwenlet::Error>().is_some_and(|e| e.code() == Code::NoWebgpu) => {
            let set = |name, value| std::env::var(name).is_ok_and(|v| v == value);
            assert!(!set("CI", "true") && !set("QWENLET_REQUIRE_GPU", "1"), "{e:#}");
            println!("skipped: no WebGPU adapter");
            return;
        }
        Err(e) => panic!("{e:#}"),
    };
    let mut cpu = Pupil::load(Path::new(SHIPPED), BackendChoice::Cpu).unwrap();
    for skill in Skill::ALL {
        let on = |pupil: &mut Pupil| pupil.examine(skill, 6, 0, SEED).unwrap();
        let (on_cpu, on_gpu) = (on(&mut cpu), on(&mut gpu));
        assert!(
            on_cpu.right.abs_diff(on_gpu.right) <= 1,
            "{}: {:?} {:?}",
            skill.name(),
            on_cpu.wrong,
            on_gpu.wrong
        );
    }
}
