
// How keys and values of a layer lie in pages; the only place that knows it.
// Keys: page, head, quarter of the head, token; threads with a token each read neighbouring words.
// Values: page, head, token, quarter of the head; threads with a quarter each read neighbouring words.
fn key_at(page: u32, head: u32, part: u32, slot: u32) -> u32 {
    return ((page * params.n_kv_heads + head) * params.head_dim + part) * PAGE_TOKENS + slot;
}

fn value_at(page: u32, head: u32, part: u32, slot: u32) -> u32 {
    return ((page * params.n_kv_heads + head) * PAGE_TOKENS + slot) * params.head_dim + part;
}

