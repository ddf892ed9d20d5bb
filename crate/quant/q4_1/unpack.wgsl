fn unpack{{ nth }}(at: vec2<u32>, group: u32) -> Group {
    let dm = half2(scale_word(at, group));
    return nibble_group(quant_word(at, group), dm.x, dm.y, 1.0, 1.0);
}
