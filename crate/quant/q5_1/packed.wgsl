fn packed{{ nth }}(at: vec2<u32>, group: u32) -> Packed {
    let dm = half2(scale_word(at, group * 2u + 1u));
    return five_bit_words(quant_word(at, group), scale_word(at, group * 2u), dm.x, dm.y);
}
