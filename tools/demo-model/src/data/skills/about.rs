//! Greetings, and what there is to know of qwenlet.

use std::sync::LazyLock;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::super::alternatives::expand;
use super::super::wording::careless;
use super::super::{Dialogue, Rng, Skill};

/// What can be asked, in patterns, and the one answer.
struct Fact {
    patterns: &'static [&'static str],
    answer: &'static str,
}

const GREETINGS: &[Fact] = &[
    Fact {
        patterns: &[
            "(Hello|Hi|Hey|Good morning|Good evening|Good afternoon|Good day) (demo|model|qwenlet|bot|friend|everyone|you|all|again|my friend|demo model|there|little model)(|!|.)",
            "(Hello|Hi|Hey|Good morning|Good evening), (demo|model|qwenlet|bot|friend|everyone|you|nice to meet you|nice to see you|good to see you|pleased to meet you)(|!|.)",
            "(Hello|Hi|Hey|Well|So|Hello and hi), (anybody|anyone|is anyone|are you|is anybody|is somebody) there?",
            "(Nice|Good|Pleased|Great) to (meet|see) you(|!|.)",
            "(This is|This is just|It is|Just|Only) a (test|first test|little test|short test)(|.|!)",
        ],
        answer: "Hello! I am the qwenlet demo model. Ask me about qwenlet, or for a sum, a word backwards, a sorted list, units, JSON or a phrase in another language.",
    },
    Fact {
        patterns: &[
            "(Who|What) are you(?|)",
            "(And who|So who|So what|Who exactly|What exactly|And what) are you(?|)",
            "(With whom|To whom|With what|To what) am I (talking|speaking|chatting)(?|)",
            "(Who|What) am I (talking|speaking|chatting) (to|with)(?|)",
            "(Tell me|Say|Explain|Please say|Please tell me|Can you say|Can you tell me) (who|what) you (are|really are)(.|)",
            "(Introduce|Describe|Present) yourself(.| to me.| briefly.|)",
            "(Tell me|Say|I want to know) (something|more|a little) about yourself(.|)",
            "(What|Which) (model|kind of model|language model|AI|bot|sort of model|sort of AI) (are you|am I talking to|am I speaking to)(?|)",
            "(What is|What's|Tell me|Do you have|Say) (your name|a name)(?|)",
            "(How big|How large|How small|How heavy) (are you|is this model|is the demo model|is this demo)(?|)",
            "(Are you|Am I talking to|Am I speaking with) (a|an|the) (demo|demo model|robot|bot|AI|language model|real model|person|human|machine|program|computer)(?|)",
            "(Are you|Is this|Are you not|Are you really) (ChatGPT|GPT|Qwen|Claude|Gemini|Llama|Mistral|a Qwen model)(?|)",
            "How many (parameters|weights) (do you have|have you|has this model|are you made of|does this model have|does the demo have)(?|)",
        ],
        answer: "I am the qwenlet demo model: about three million weights, trained by the qwenlet project, running in your browser. I only know a few kinds of question.",
    },
    Fact {
        patterns: &[
            "(What|So what|And what) can (you|this model|the demo|the demo model|this demo|you all|this chat) do( for me|)(?|)",
            "What (are you able to|do you know how to|could you|are you here to|were you trained to|did you learn to) do(?|)",
            "What (can|could|should|may|shall) I (ask|ask you|say|say to you|try|do here|do with you|type)(?|)",
            "(How|With what|In what way) can you help( me|)(?|)",
            "(What|Which things) can you help( me|) with(?|)",
            "(Show me|Tell me|List|Explain|Say|Describe) what you (can do|can|know|are able to do|have learned)(.|)",
            "What (are your skills|are your abilities|are you good at|questions can you answer|are your talents|have you learned|is your purpose|are you for)(?|)",
            "(Help|Help me|I need help|Please help|Please help me|I need some help|Give me help)(|.|!)",
            "(Give me|Show me|I want|I need) (an example|examples|some examples|a few examples|something to try)(.|)",
            "What (kinds|sorts|types) of (question|questions|things) can (you|I) (answer|ask)(?|)",
        ],
        answer: "I can add, subtract and multiply small numbers, reverse, count and capitalize the letters of a word, sort short lists, convert units, write simple JSON, call a calculator or a weather tool, say short phrases in six languages, and tell you about qwenlet.",
    },
    Fact {
        patterns: &[
            "(How|And how|So how|Well, how|Hello, how|Hi, how|Hey, how) are you( today| doing| feeling| doing today| feeling today| now| this morning|)(?|)",
            "(How|And how|So how|Hi, how|Hello, how) (do you do|are things|do you feel|is your day|is life|goes it|have you been|do you feel today|is your day going)(?|)",
            "(Are you|Do you feel) (well|fine|okay|OK|all right|happy) (today|now)(?|)",
        ],
        answer: "I am well, thank you. What can I do for you?",
    },
    Fact {
        patterns: &[
            "(Great|Good|Perfect|Wonderful|Nice|OK|Okay|Very good|Cool|Well done|Super|Ah|Oh|Fine|Yes|Excellent), (thanks|thank you|many thanks|thanks a lot|thank you very much)(|!|.)",
            "(Thanks|Thank you|Many thanks) (for your help|for that|for the answer|for everything|so much|very much|a lot|again|for your answer|indeed|my friend|model|for helping)(|!|.)",
            "(That was|This is|You are|That is) (great|helpful|very helpful|kind|nice|good|very kind|very good|wonderful|very nice|so helpful|perfect)(|!|.)",
        ],
        answer: "You are welcome.",
    },
    Fact {
        patterns: &[
            "(Thanks|Thank you|OK|Okay|Well|Good|Fine|Great|So), (bye|goodbye|see you|I have to go|good night|see you later|see you soon|bye bye|I am leaving|until next time)(|!|.)",
            "(Bye|Goodbye|Good night|See you|Farewell) (now|then|model|my friend|qwenlet|for now|and thank you|and thanks|everyone)(|!|.)",
            "(I have to go|I am leaving|I must go|I am going|I will go|I need to go) (now|soon|home|to bed|to work|to sleep)(|!|.)",
        ],
        answer: "Goodbye!",
    },
];

/// Words to learn by heart, so none of them is held out (a test says so).
const BY_HEART: &[Fact] = &[
    Fact {
        patterns: &[
            "(Ok|Okay|Yes|No|Cool|Great|Nice|Hmm|Lol|Wow|I see|Interesting|Really|Why|What|And|So|Well|Sure|Right|Maybe|Good|Super)(|.|!|?)",
        ],
        answer: "Ask me for a sum, a word backwards or a sorted list, or about qwenlet.",
    },
    Fact {
        patterns: &[
            "(Hello|Hi|Hey|Good morning|Good evening|Good day|Greetings|Hello there|Hi there|Hey there|Hiya|Howdy)(|!|.)",
            "(Test|Testing|Are you there?|Anybody there?)",
        ],
        answer: GREETINGS[0].answer,
    },
    Fact { patterns: &["(Who|What) are you(?|)", "Who is this?"], answer: GREETINGS[1].answer },
    Fact {
        patterns: &["(What can you do|What do you know|How can you help)(?|)", "Help(!|.|)"],
        answer: GREETINGS[2].answer,
    },
    Fact {
        patterns: &["(How are you|How do you do|How is it going|What's up|How goes it)(?|)"],
        answer: GREETINGS[3].answer,
    },
    Fact {
        patterns: &["(Thanks|Thank you|Many thanks|Thanks a lot|Thank you very much|Thx|Cheers)(|!|.)"],
        answer: GREETINGS[4].answer,
    },
    Fact {
        patterns: &["(Bye|Goodbye|Bye bye|See you|See you later|Good night|Farewell|Until next time)(|!|.)"],
        answer: GREETINGS[5].answer,
    },
    Fact {
        patterns: &["(Bonjour|Salut|Bonsoir)(|!| !|.| à tous)"],
        answer: "Bonjour ! Je suis le modèle de démonstration de qwenlet.",
    },
    Fact {
        patterns: &["(Hallo|Guten Tag|Guten Morgen|Guten Abend|Moin|Servus)(|!|.| zusammen)"],
        answer: "Hallo! Ich bin das Demo-Modell von qwenlet.",
    },
    Fact {
        patterns: &[
            "(Hola|Buenos días|Buenas tardes|Buenas)(|!|.| a todos)",
            "¡(Hola|Buenos días|Buenas tardes)!",
        ],
        answer: "¡Hola! Soy el modelo de demostración de qwenlet.",
    },
    Fact {
        patterns: &["(你好|您好|早上好|晚上好|大家好|嗨)(|！|。|!)"],
        answer: "你好！我是 qwenlet 的演示模型。",
    },
    Fact {
        patterns: &["(こんにちは|こんばんは|おはようございます|おはよう|はじめまして)(|！|。|!)"],
        answer: "こんにちは！qwenletのデモモデルです。",
    },
];

const FACTS: &[Fact] = &[
    Fact {
        patterns: &[
            "(What is|What's|What exactly is|So what is|And what is|Hey, what is) (qwenlet|this qwenlet|the qwenlet project|this thing called qwenlet)(?|)",
            "(Explain|Describe|Tell me about|Introduce|Define|Please explain|Please describe) (qwenlet|the qwenlet project|this project|this page|this site)(.| to me.|)",
            "What (does|can|will) (qwenlet|this project|this page|this site|this app) do( for me|)(?|)",
            "(What is|What's) (this project|this page|this site|this website|this app|this tool|this thing|this)( about| for| good for|)(?|)",
            "(What do you know|Tell me something|Tell me more|Tell me|I want to know|What can you say|What can you tell me) about (qwenlet|the qwenlet project|this page|this project)(.|?|)",
            "What is qwenlet (for|about|good for|used for|made for|all about)(?|)",
            "(Why|When|For what) (would|should|could|do) I use qwenlet(?|)",
        ],
        answer: "qwenlet runs Qwen language models inside a browser tab, on your own device, without a server.",
    },
    Fact {
        patterns: &[
            "Is (this|qwenlet|this chat|my chat|the chat|my data|it|this page) (private|safe|secure|confidential)(?|)",
            "(Do|Will) (my words|my messages|my data|my questions) leave (my device|this device|my computer|the browser)(?|)",
            "(Where|To whom) (do|does|will) my (words|messages|data|questions|chat) go(?|)",
            "(Who can|Can anyone|Can anybody|Does anyone|Can you|Can a stranger|Can somebody|Can other people) (read|see|store|record|spy on|look at) (my chat|my messages|what I write|this chat|my data|my words|my questions)(?|)",
            "(Do you|Does qwenlet|Does this page) (send|upload|store|keep|collect|share|record|track) (my data|my messages|what I write|my chats|anything)(?|)",
            "(What about|Tell me about|Is there|How about) (privacy|my privacy|data protection)(?|)",
            "(Is|Are) my (words|messages|questions|chats) sent (anywhere|to a server|over the internet|to the cloud)(?|)",
        ],
        answer: "Yes, it is private: the model runs in this tab, and what you write never leaves your device.",
    },
    Fact {
        patterns: &[
            "How (do|can|would) I (load|use|get|start|run|open) a (real|bigger|better|larger|proper|real Qwen|Qwen) model(?|)",
            "How (do|can) I (load|use|run|open) (another model|other models|my own model|a GGUF file|my own GGUF|a GGUF|Qwen3|Qwen2.5)(?|)",
            "(Where|How) (do|can) I (choose|select|change|switch|pick) (the|a|another) model(?|)",
            "I want (a|to use a|to load a|to run a) (real|better|bigger|larger) model(.|)",
            "(Load|Give me|Show me|Switch to) a (real|better|bigger|larger) model(.|)",
            "Can I (load|use|run) (a real model|another model|my own model|a bigger model|my own file)(?|)",
        ],
        answer: "Choose a model from the list on the page, paste the address of a GGUF file, or drop a file on the page. In code: await Engine.load(\"qwen3-0.6b-q8_0\").",
    },
    Fact {
        patterns: &[
            "(What|Which) (are the|are qwenlet's|backends are there|backends|is a|are its) (backends|backend)(?|)",
            "(What|Which) backends (does qwenlet have|does it have|are there|can I use|exist|are supported)(?|)",
            "(Does|Can) (qwenlet|it|this) (use|run on|work with|need) (WebGPU|the GPU|my GPU|a GPU|the CPU|my graphics card)(?|)",
            "What (does it|does qwenlet|does the model) run on(?|)",
            "What (if|happens when|happens if) (there is no|I have no|my browser has no) (WebGPU|GPU)(?|)",
            "(Is|Do I need) (WebGPU|a GPU|a graphics card) (needed|required|necessary|to use it|)(?|)",
            "(Tell me about|Explain|Name|List) the backends(.|)",
        ],
        answer: "There are two backends: WebGPU where the browser has it, and otherwise the CPU with WebAssembly SIMD.",
    },
    Fact {
        patterns: &[
            "(What|Which) models (can|does|will) (qwenlet|it|this) (run|support|load|know)(?|)",
            "(What|Which) models (are there|are supported|work|can I use|can I load|do you recommend|should I use|exist)(?|)",
            "(Does|Can) (qwenlet|it) (run|support|load) (Qwen3|Qwen2|Qwen2.5|large models|other models|Qwen models)(?|)",
            "(List|Name|Show me|Tell me) the (real |)models(.|)",
            "(What|Which) model is (best|the best|good|right for me)(?|)",
        ],
        answer: "Qwen2, Qwen2.5 and Qwen3 models as GGUF files, from 0.5 to 4 billion weights. Start with Qwen3 0.6B or Qwen2.5 1.5B.",
    },
    Fact {
        patterns: &[
            "(Does|Can|Will) (qwenlet|it|this|this page|the page) (work|run|be used) (offline|without internet|without a network|without the internet)(?|)",
            "(Can I|May I) use (qwenlet|it|this) (offline|without internet|on a plane|without a network|on a train)(?|)",
            "(Do I|Does it) need (the internet|a network|internet|a connection|to be online)(?|)",
            "(What|What happens) (if|when) (I am offline|the network is gone|there is no internet|I have no internet)(?|)",
            "(Is it|Is qwenlet) (usable |available |)(offline|without a network)(?|)",
        ],
        answer: "Yes. After the first visit page and model are kept in the browser, and it works without a network.",
    },
    Fact {
        patterns: &[
            "(Does|Do) (it|qwenlet|I) need (a server|a backend server|an account|an API key|a cloud|to log in|to sign up)(?|)",
            "(Is there|Is) a (server|cloud|backend server) (behind it|needed|required|involved|behind this)(?|)",
            "(Which|What|Where is the) server (does it use|is used|answers|does qwenlet use)(?|)",
            "(Do|Must) I (sign up|log in|register|make an account|create an account)(?|)",
        ],
        answer: "No. There is no server, no account and no key: a static page is all.",
    },
    Fact {
        patterns: &[
            "(What does|How much does|What will) (qwenlet|it|this|this page|using it) cost( me|)(?|)",
            "(Is it|Is qwenlet|Is this|Is this page) (free|for free|open source|paid|free software|free to use|free of charge)(?|)",
            "(What|Which|Under what|Under which) (licence|license) (does it have|does qwenlet have|has qwenlet|is it|applies|is qwenlet)(?|)",
            "(Do I|Must I|Will I|Do I have to|Should I) (pay|pay for it|pay for qwenlet|pay something|buy it|pay money|buy qwenlet)(?|)",
            "(Do I need|Is there|Must I have) a (subscription|price|fee|charge|trial|paid plan)(?|)",
            "(What is the|Tell me the|Which) (price|licence|license) of qwenlet(?|)",
            "(May|Can) I use (it|qwenlet) (commercially|at work|in my company|in my product)(?|)",
        ],
        answer: "qwenlet is free and open source, under the MIT or the Apache 2.0 licence. Each model has a licence of its own.",
    },
    Fact {
        patterns: &[
            "How (do|can) I (install|add|use) (qwenlet|it|the package|the npm package) (in my page|in my project|in my app|in my code|with npm|as a developer|)(?|)",
            "(Is there|Do you have|Where is) (an|the) npm package(?|)",
            "How (do|can) I (use|call|import) qwenlet (from|in|with) (JavaScript|TypeScript|code|my code)(?|)",
            "(What is|Show me|Tell me about) the (API|npm package|JavaScript API)(?|.|)",
            "(Can I|How do I) (build|put) (it|qwenlet|this) (into|in) (my page|my app|my website|my product)(?|)",
        ],
        answer: "npm install qwenlet, then import { Engine } from \"qwenlet\". Its API has the shape of OpenAI's.",
    },
    Fact {
        patterns: &[
            "Where (is|are) (the model|the models|the weights|models|the files|the downloads) (kept|stored|saved|cached)(?|)",
            "How (do|can) I (delete|remove|clear) (a model|the models|the cache|a download|stored models|the files)(?|)",
            "(Does it|Does qwenlet|Do you) (cache|store|keep) (the model|models|the weights|the files)(?|)",
            "(Is|Are) the (model|models|weights|downloads) (kept|stored|saved|cached)(?|)",
            "(Tell me about|What is|Explain) the cache(?|.|)",
        ],
        answer: "Models are kept in the browser's storage (IndexedDB). The page lists them and deletes those you no longer want.",
    },
    Fact {
        patterns: &[
            "(What|What happens) (if|when) (a|the|my) download (breaks|stops|fails|is interrupted|breaks off)(?|)",
            "(Can|Does|Will) (a|the) download (resume|go on|continue|be resumed)(?|)",
            "(What|What happens) (if|when) I close the (tab|page|browser) (during|while) (the|a) download(?|)",
            "(Are|Is) (downloads|the download|a download|the file) (checked|verified|resumed|safe)(?|)",
        ],
        answer: "A download goes on where it stopped, and the file is checked before it is used.",
    },
    Fact {
        patterns: &[
            "(What|Which language|Which programming language|What language) is (qwenlet|it|this|the page) (written in|made with|made of|built with|programmed in|based on)(?|)",
            "(How|How exactly|And how) does (qwenlet|it|this|the page|this page) work(?|)",
            "(How|How exactly|With what) is (qwenlet|it|this|the page) (made|built|written|programmed)(?|)",
            "(Is it|Is qwenlet) written in (Rust|JavaScript|Python|C++)(?|)",
            "(Explain|Tell me|Describe) how (it|qwenlet|this) works(.|)",
            "(What|Which) (technology|language|languages) does (it|qwenlet) use(?|)",
        ],
        answer: "It is written in Rust, compiled to WebAssembly; the transformer runs in WebGPU shaders or in SIMD on the CPU.",
    },
    Fact {
        patterns: &[
            "(Does|Can|Will) (it|qwenlet|this) (work|run) on (a phone|my phone|phones|mobile|a tablet|Android|an iPhone|iOS)(?|)",
            "(Can I|May I) use (it|qwenlet|this) on (a phone|my phone|a tablet|my tablet|Android|an iPhone)(?|)",
            "(Is|Are) (phones|phone|mobile|tablets) supported(?|)",
            "(How much|What) memory (does it|do I|does a model|does qwenlet) need(?|)",
        ],
        answer: "Yes, where the browser has enough memory: about 0.6 gigabytes for a model of 0.5 billion weights. Start with a small one.",
    },
    Fact {
        patterns: &[
            "(Which|What) browser (do I need|works|should I use|is best|can I use|is supported)(?|)",
            "(Which|What) browsers (work|are supported|can I use|does it support)(?|)",
            "(Does|Can|Will) (it|qwenlet|this) (work|run) in (Firefox|Chrome|Safari|Edge|my browser)(?|)",
            "(Is|Are) (Firefox|Chrome|Safari|Edge) supported(?|)",
        ],
        answer: "Any current browser runs it on the CPU; with WebGPU, as in Chrome and Edge, it is faster.",
    },
    Fact {
        patterns: &[
            "(Why|How come) (is it|is qwenlet|is this|are you) (slow|so slow)(?|)",
            "How (do|can) I (make|get) (it|qwenlet|this) (faster|quicker|fast)(?|)",
            "(How fast|How quick) is (it|qwenlet)(?|)",
            "(What|How) (are|about) threads(?|)",
            "(Can|Does) (it|qwenlet) use (threads|more cores|all cores|several threads)(?|)",
        ],
        answer: "Use WebGPU where you can. On the CPU threads make it faster; they need a page that is cross-origin isolated.",
    },
    Fact {
        patterns: &[
            "(Who|Which company) (made|built|wrote|trained|created|makes) (you|qwenlet|this|this model)(?|)",
            "(Who is|Who's) behind (qwenlet|this|it)(?|)",
            "(Where do you|Where did you) come from(?|)",
            "(How|On what) (were you|was this model|are you|was the demo model) (trained|made)(?|)",
            "(Who|What) are your (makers|authors|creators)(?|)",
        ],
        answer: "The qwenlet project made and trained me, on sentences that its own code generates. The real models are made by the Qwen team.",
    },
    Fact {
        patterns: &[
            "(Why|How come) (do you know so little|are you so small|can you do so little|are you so limited|are you so bad|are you so stupid)(?|)",
            "(What|Which things) (can't you|can you not|are you not able to) do(?|)",
            "What are your (limits|limitations|weaknesses)(?|)",
            "(How|Just how|And how) (good|smart|clever|reliable|intelligent|accurate|capable) are you( really|)(?|)",
            "(Can|May|Should) I (trust|rely on|believe) (you|your answers|this model|the demo)(?|)",
        ],
        answer: "I am only a demonstration, a thousand times smaller than a real model: beyond my few skills I know nothing. Load a real model for everything else.",
    },
];

/// Every question with its answer.
fn table(facts: &'static [Fact]) -> Vec<Vec<String>> {
    facts
        .iter()
        .map(|fact| fact.patterns.iter().flat_map(|p| expand(p)).map(|s| s.trim().to_owned()).collect())
        .collect()
}

static ASKED: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| table(FACTS));
static GREETED: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| table(GREETINGS));
static GREETED_BY_HEART: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| table(BY_HEART));

/// A question and its answer.
fn one(
    facts: &'static [Fact],
    questions: &'static [Vec<String>],
    rng: &mut Rng,
) -> (&'static str, &'static str) {
    let at = rng.random_range(0..facts.len());
    (questions[at].choose(rng).expect("some"), facts[at].answer)
}

/// Every pattern and every answer.
pub(super) fn texts() -> impl Iterator<Item = &'static str> {
    let facts = [GREETINGS, BY_HEART, FACTS].into_iter().flatten();
    facts.flat_map(|fact| fact.patterns.iter().copied().chain([fact.answer]))
}

/// As somebody asks who shouts, sometimes.
fn loud(question: &str, rng: &mut Rng) -> String {
    if rng.random_bool(0.04) { question.to_uppercase() } else { careless(question, rng) }
}

/// With and without a question mark it is the same wording.
fn wording(question: &str) -> String {
    question.trim_end_matches(['?', '.', '!']).to_lowercase()
}

pub(super) fn about(rng: &mut Rng) -> Dialogue {
    let (question, answer) = one(FACTS, &ASKED, rng);
    Dialogue::new(Skill::About, wording(question), loud(question, rng), answer)
}

pub(super) fn greeting(rng: &mut Rng) -> Dialogue {
    if rng.random_bool(0.4) {
        let (question, answer) = one(BY_HEART, &GREETED_BY_HEART, rng);
        return Dialogue::new(Skill::Greeting, LEARNED, loud(question, rng), answer);
    }
    let (question, answer) = one(GREETINGS, &GREETED, rng);
    Dialogue::new(Skill::Greeting, wording(question), loud(question, rng), answer)
}

/// The content of what is learned by heart.
const LEARNED: &str = "a greeting by heart";

#[cfg(test)]
mod tests {
    use super::super::super::held_out;
    use super::*;

    #[test]
    fn what_is_learned_by_heart_is_trained() {
        assert!(!held_out(Skill::Greeting, LEARNED));
    }
}
