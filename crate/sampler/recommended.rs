//! What a model's publisher recommends.

use super::Params;
use crate::error::{Result, ResultExt};
use crate::gguf::Metadata;

/// The parameters to use where the caller names none.
///
/// A file that carries `general.sampling.*` is believed; otherwise they are the publisher's for the family (Qwen's
/// model cards and `generation_config.json`), which architecture and name tell. `thinking`: the answer starts with a
/// chain of thought, for which greedy or cold sampling is documented to loop.
///
/// # Errors
/// `invalid-model` for a recommendation of the wrong type, `invalid-argument` for one out of range.
pub fn recommended(
    metadata: &Metadata,
    architecture: &str,
    name: Option<&str>,
    thinking: bool,
) -> Result<Params> {
    let own = |key: &str| metadata.f32(&format!("general.sampling.{key}"));
    // As in llama.cpp, 0 and what is below it is off.
    let top_k = metadata.i32("general.sampling.top_k")?.map(|k| u32::try_from(k).unwrap_or(0));
    let (temperature, top_p, min_p) = (own("temp")?, own("top_p")?, own("min_p")?);
    let repetition = own("penalty_repeat")?;
    if top_k.is_none() && [temperature, top_p, min_p, repetition].iter().all(Option::is_none) {
        let name = name.unwrap_or_default().to_lowercase().replace(['-', '_'], " ");
        return Ok(family(architecture, &name, thinking));
    }
    let neutral = Params::default();
    let params = Params {
        temperature: temperature.unwrap_or(neutral.temperature),
        top_k: top_k.unwrap_or(neutral.top_k),
        top_p: top_p.unwrap_or(neutral.top_p),
        min_p: min_p.unwrap_or(neutral.min_p),
        repetition_penalty: repetition.unwrap_or(neutral.repetition_penalty),
        ..neutral
    };
    params.validate(usize::MAX).context(|| "general.sampling of the file")?;
    Ok(params)
}

/// By architecture and name, which is in lower case with spaces between its words.
fn family(architecture: &str, name: &str, thinking: bool) -> Params {
    let set = |temperature, top_p, presence_penalty| Params {
        temperature,
        top_k: 20,
        top_p,
        presence_penalty,
        ..Params::default()
    };
    let cold = set(0.6, 0.95, 0.0);
    let calm = set(0.7, 0.8, 0.0);
    match architecture {
        // What others trained to think has all kinds of names.
        "qwen2" | "qwen2moe" if thinking || name.contains("qwq") || name.contains("r1 distill") => cold,
        "qwen2" | "qwen2moe" if name.contains("math") => Params { temperature: 0.0, ..Params::default() },
        "qwen2" | "qwen2moe" => {
            let small = ["0.5b", "1.5b"].iter().any(|size| name.contains(size)) && !name.contains("coder");
            Params { repetition_penalty: if small { 1.1 } else { 1.05 }, ..calm }
        }
        // As good as greedy.
        "qwen2vl" => Params { temperature: 1e-6, repetition_penalty: 1.05, ..Params::default() },
        "qwen3vl" | "qwen3vlmoe" if thinking => cold,
        "qwen3vl" | "qwen3vlmoe" => set(0.7, 0.8, 1.5),
        "qwen35" | "qwen35moe" if thinking => set(1.0, 0.95, 1.5),
        "qwen35" | "qwen35moe" => set(1.0, 1.0, 2.0),
        _ if thinking => cold,
        // The 2507 models and what followed do without the penalty that the first Qwen3 is shown with.
        "qwen3" | "qwen3moe" if !name.contains("2507") && !name.contains("coder") => set(0.7, 0.8, 1.5),
        _ => calm,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_differ_and_so_does_thinking() {
        let of = |architecture, name, thinking| {
            recommended(&Metadata::default(), architecture, Some(name), thinking).unwrap()
        };
        let p = of("qwen2", "Qwen2.5 3B Instruct", false);
        assert_eq!((p.temperature, p.top_p, p.top_k, p.repetition_penalty), (0.7, 0.8, 20, 1.05));
        assert_eq!(of("qwen2", "qwen2.5-0.5b-instruct", false).repetition_penalty, 1.1);
        assert_eq!(of("qwen2", "Qwen2.5 1.5B Instruct", false).repetition_penalty, 1.1);
        assert_eq!(of("qwen2", "Qwen2.5 Coder 0.5B", false).repetition_penalty, 1.05);
        for name in ["Qwen2.5 Math 1.5B Instruct", "qwen2.5-math-7b-instruct"] {
            assert_eq!(of("qwen2", name, false), Params { temperature: 0.0, ..Params::default() });
        }
        for name in
            ["DeepSeek R1 Distill Qwen 1.5B", "DeepSeek-R1-Distill-Qwen-7B", "deepseek_r1_distill", "QwQ 32B"]
        {
            let p = of("qwen2", name, true);
            assert_eq!((p.temperature, p.top_p, p.repetition_penalty), (0.6, 0.95, 1.0), "{name}");
        }
        for name in ["DeepScaleR 1.5B Preview", "Qwen2.5 Math 7B Thinker", "x"] {
            assert_eq!(of("qwen2", name, true), of("qwen2", "QwQ 32B", true), "{name}");
        }
        assert_eq!(of("qwen2", "DeepScaleR 1.5B Preview", false).repetition_penalty, 1.1);
        let p = of("qwen3", "Qwen3 0.6B", true);
        assert_eq!((p.temperature, p.top_p, p.top_k, p.presence_penalty), (0.6, 0.95, 20, 0.0));
        let p = of("qwen3", "Qwen3 0.6B", false);
        assert_eq!((p.temperature, p.top_p, p.presence_penalty), (0.7, 0.8, 1.5));
        assert_eq!(of("qwen3", "Qwen3-4B-Instruct-2507", false).presence_penalty, 0.0);
        assert_eq!(of("qwen35", "Qwen3.5 0.8B", false).presence_penalty, 2.0);
        let unnamed = recommended(&Metadata::default(), "qwen3", None, true).unwrap();
        assert_eq!(unnamed.temperature, 0.6);
        for thinking in [false, true] {
            for architecture in ["qwen2", "qwen3", "qwen2vl", "qwen3vl", "qwen35", "qwen3next", "other"] {
                of(architecture, "x", thinking).validate(1).unwrap();
            }
        }
    }

    #[test]
    fn the_file_s_own_values_win() {
        let mut metadata = Metadata::default();
        metadata.insert("general.sampling.temp", 0.25f32);
        metadata.insert("general.sampling.top_k", 40i32);
        let p = recommended(&metadata, "qwen3", None, true).unwrap();
        assert_eq!(p, Params { temperature: 0.25, top_k: 40, ..Params::default() });
        for off in [0i32, -1] {
            metadata.insert("general.sampling.top_k", off);
            assert_eq!(recommended(&metadata, "qwen3", None, true).unwrap().top_k, 0);
        }
        metadata.insert("general.sampling.temp", 0.0f32);
        assert_eq!(
            recommended(&metadata, "qwen3", None, true).unwrap(),
            Params { temperature: 0.0, top_k: 0, ..Params::default() }
        );
        metadata.insert("general.sampling.temp", -1.0f32);
        let error = recommended(&metadata, "qwen3", None, true).unwrap_err();
        assert!(error.message().contains("temperature is -1"), "{error}");
    }
}
