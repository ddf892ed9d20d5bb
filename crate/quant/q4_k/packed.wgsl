fn packed{{ nth }}(at: vec2<u32>, group: u32) -> Packed {
    let unit = group / 8u;
    let j = group % 8u;
    let dm = half2(scale_word(at, unit * 5u));
    let bytes = scale_word(at, unit * 5u + 1u + j / 2u) >> (16u * (j % 2u));
    let s = f32(bytes & 0xffu) * dm.x;
    let m = f32((bytes >> 8u) & 0xffu) * dm.y;
    let q = quant_word(at, group);
    return Packed(nibble_words(q.xy), nibble_words(q.zw), vec2<f32>(s), vec2<f32>(-m));
}
