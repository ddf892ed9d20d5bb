fn packed{{ nth }}(at: vec2<u32>, group: u32) -> Packed {
    return iq4_words(quant_word(at, group), half1(scale_word(at, group / 2u), group % 2u));
}
