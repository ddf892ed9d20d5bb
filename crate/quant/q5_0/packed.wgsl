fn packed{{ nth }}(at: vec2<u32>, group: u32) -> Packed {
    let unit = group / 2u * 3u;
    let d = half1(scale_word(at, unit + 2u), group % 2u);
    return five_bit_words(quant_word(at, group), scale_word(at, unit + group % 2u), d, -16.0 * d);
}
