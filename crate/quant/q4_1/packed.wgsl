fn packed{{ nth }}(at: vec2<u32>, group: u32) -> Packed {
    let dm = half2(scale_word(at, group));
    let q = quant_word(at, group);
    return Packed(nibble_words(q.xy), nibble_words(q.zw), vec2<f32>(dm.x), vec2<f32>(dm.y));
}
