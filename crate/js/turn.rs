//! Turns of the worker's loop.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::future::LocalBoxFuture;
use wasm_bindgen::prelude::*;
use web_sys::MessageChannel;

/// A channel from the worker to itself. It is kept: to make one for each turn costs more than the turn.
struct Turns {
    channel: MessageChannel,
    waiting: Rc<RefCell<VecDeque<oneshot::Sender<()>>>>,
    _on_message: Closure<dyn Fn()>,
}

thread_local! {
    static TURNS: Option<Turns> = Turns::new().ok();
}

impl Turns {
    fn new() -> Result<Self, JsValue> {
        let channel = MessageChannel::new()?;
        let waiting = Rc::new(RefCell::new(VecDeque::<oneshot::Sender<()>>::new()));
        let first = Rc::clone(&waiting);
        let on_message = Closure::<dyn Fn()>::new(move || {
            let turn = first.borrow_mut().pop_front();
            if let Some(turn) = turn {
                let _ = turn.send(()); // who waited for it may be gone
            }
        });
        channel.port1().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Ok(Self { channel, waiting, _on_message: on_message })
    }

    /// Comes behind what the worker was sent until now.
    fn next(&self) -> Option<oneshot::Receiver<()>> {
        self.channel.port2().post_message(&JsValue::NULL).ok()?;
        let (turn, came) = oneshot::channel();
        self.waiting.borrow_mut().push_back(turn);
        Some(came)
    }
}

/// Lets the worker take its messages: an abort among them. A timer would do, but costs 4 ms.
pub(super) fn pause() -> LocalBoxFuture<'static, ()> {
    Box::pin(async {
        if let Some(turn) = TURNS.with(|turns| turns.as_ref().and_then(Turns::next)) {
            let _ = turn.await; // the sender is kept until it has sent
        }
    })
}
