fn unpack{{ nth }}(at: vec2<u32>, group: u32) -> Group {
    return iq4_group(quant_word(at, group), half1(scale_word(at, group / 2u), group % 2u));
}
