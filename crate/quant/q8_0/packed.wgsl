fn packed{{ nth }}(at: vec2<u32>, group: u32) -> Packed {
    let d = half1(scale_word(at, group / 2u), group % 2u);
    return Packed(quant_word(at, group * 2u), quant_word(at, group * 2u + 1u), vec2<f32>(d), vec2<f32>());
}
