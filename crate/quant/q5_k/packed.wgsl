fn packed{{ nth }}(at: vec2<u32>, group: u32) -> Packed {
    let unit = group / 8u;
    let j = group % 8u;
    let fifth = scale_word(at, unit * 13u + j);
    let dm = half2(scale_word(at, unit * 13u + 8u));
    let bytes = scale_word(at, unit * 13u + 9u + j / 2u) >> (16u * (j % 2u));
    let s = f32(bytes & 0xffu) * dm.x;
    let m = f32((bytes >> 8u) & 0xffu) * dm.y;
    return five_bit_words(quant_word(at, group), fifth, s, -m);
}
