fn packed{{ nth }}(at: vec2<u32>, group: u32) -> Packed {
    let unit = group / 8u;
    let j = group % 8u;
    let a = scale_word(at, unit * 21u + j * 2u);
    let b = scale_word(at, unit * 21u + j * 2u + 1u);
    let bytes = scale_word(at, unit * 21u + 16u + j / 2u) >> (16u * (j % 2u));
    let s = signed_bytes(bytes).xy * half1(scale_word(at, unit * 21u + 20u), 0u);
    let q = quant_word(at, group);
    let four = vec4<u32>(4u);
    return Packed(
        nibble_words(q.xy) | (pair_words(a) << four),
        nibble_words(q.zw) | (pair_words(b) << four),
        s,
        -32.0 * s,
    );
}
