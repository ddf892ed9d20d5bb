fn unpack{{ nth }}(at: vec2<u32>, group: u32) -> Group {
    let d = half1(scale_word(at, group / 2u), group % 2u);
    return nibble_group(quant_word(at, group), 1.0, -8.0, d, d);
}
