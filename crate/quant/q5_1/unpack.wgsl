// A unit's words: fifth bits, then scale and minimum.
fn unpack{{ nth }}(at: vec2<u32>, group: u32) -> Group {
    let dm = half2(scale_word(at, group * 2u + 1u));
    return five_bit_group(quant_word(at, group), scale_word(at, group * 2u), dm.x, dm.y, 1.0);
}
