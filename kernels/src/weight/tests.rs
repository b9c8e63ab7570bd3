use std::borrow::Cow;

use candle_core::quantized::{QStorage, QTensor};
use candle_core::{Device, Tensor};
use proptest::prelude::*;
use pulp::bytemuck;

use super::quantise::dtype;
use super::*;
use crate::lanes::Plain;
use crate::{embed, linear};

const BLOCKS: [Format; 10] = [
    Format::Q4_0,
    Format::Q4_1,
    Format::Q5_0,
    Format::Q5_1,
    Format::Q8_0,
    Format::Q2K,
    Format::Q3K,
    Format::Q4K,
    Format::Q5K,
    Format::Q6K,
];

fn formats() -> impl Iterator<Item = Format> {
    let floats = [Format::F32, Format::F16, Format::Bf16];
    let scaled = [Format::Fp8 { block: 128 }, Format::Fp8 { block: usize::MAX }, Format::Mxfp4];
    floats.into_iter().chain(scaled).chain(BLOCKS)
}

/// Numbers that look like chance, the same in every run.
fn noise(count: usize, seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 16
    })
    .take(count)
}

/// About normal, deviation 1.
fn normal(count: usize, seed: u64) -> Vec<f32> {
    let uniform: Vec<f32> = noise(4 * count, seed).map(|n| (n % 65536) as f32 / 65536.0 - 0.5).collect();
    uniform.chunks_exact(4).map(|four| four.iter().sum::<f32>() * 3f32.sqrt()).collect()
}

/// A weight with something in every bit that its format has.
fn sample(format: Format, dims: &[usize], seed: u64) -> Weight {
    let (count, width) = (dims.iter().product::<usize>(), dims[dims.len() - 1]);
    let mut builder = WeightBuilder::new(format, dims).unwrap();
    match format {
        Format::Fp8 { block } => {
            let codes: Vec<u8> =
                noise(count, seed).map(|n| n as u8).map(|n| if n & 127 == 127 { n - 1 } else { n }).collect();
            let scales = noise(count / width * width.div_ceil(block), seed + 1);
            let scales: Vec<f32> = scales.map(|n| (1 + n % 1000) as f32 / 3.0e5).collect();
            builder.all().fp8(&codes, &scales).unwrap();
        }
        Format::Mxfp4 => {
            let codes: Vec<u8> = noise(count / 2, seed).map(|n| n as u8).collect();
            let scales: Vec<u8> = noise(count / 32, seed + 1).map(|n| 120 + (n % 8) as u8).collect();
            builder.all().mxfp4(&codes, &scales).unwrap();
        }
        _ => builder.all().encode(&normal(count, seed)).unwrap(),
    }
    builder.finish()
}

fn matrix(rows: usize, values: Vec<f32>) -> Tensor {
    let width = values.len() / rows;
    Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap()
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// The same weight, decoded to f32 before it is used.
fn decoded(weight: &Weight) -> Weight {
    let values = weight.to_f32(0..weight.row_count()).unwrap();
    Weight::dense(Tensor::from_vec(values, weight.dims(), &Device::Cpu).unwrap()).unwrap()
}

#[test]
fn a_product_has_the_bits_of_the_weight_decoded_before() {
    for format in formats() {
        for (rows, outputs, width) in [(1, 9, 256), (2, 4, 1024), (7, 130, 2304), (3, 5, 1280)] {
            let weight = sample(format, &[outputs, width], 3);
            let x = matrix(rows, normal(rows * width, 4));
            let (got, want) =
                (linear(&x, &weight, None).unwrap(), linear(&x, &decoded(&weight), None).unwrap());
            assert_eq!(bits(&got), bits(&want), "{format:?} {rows}x{outputs}x{width}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch_in_every_format() {
    let (rows, outputs, width) = (70, 37, 1536);
    for format in formats() {
        let weight = sample(format, &[outputs, width], 5);
        let x = matrix(rows, normal(rows * width, 6));
        let together = bits(&linear(&x, &weight, None).unwrap());
        for row in [0, 1, 31, 32, 63, 69] {
            let alone = bits(&linear(&x.narrow(0, row, 1).unwrap(), &weight, None).unwrap());
            assert_eq!(alone, together[row * outputs..][..outputs], "{format:?} row {row}");
        }
        for count in [2, 3, 5, 33, 64] {
            let some = bits(&linear(&x.narrow(0, 4, count).unwrap(), &weight, None).unwrap());
            assert_eq!(some, together[4 * outputs..][..count * outputs], "{format:?} {count} rows");
        }
    }
}

#[test]
fn every_format_agrees_with_the_plain_sum_over_its_values() {
    let (rows, outputs, width) = (5, 11, 2304);
    for format in formats() {
        let weight = sample(format, &[outputs, width], 7);
        let (x, w) = (normal(rows * width, 8), weight.to_f32(0..outputs).unwrap());
        let got = linear(&matrix(rows, x.clone()), &weight, None).unwrap().to_vec2::<f32>().unwrap();
        for (x, got) in x.chunks(width).zip(got) {
            for (w, got) in w.chunks(width).zip(got) {
                let terms = || x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let (want, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                assert!((f64::from(got) - want).abs() < 1e-6 * size, "{format:?}: {got} {want}");
            }
        }
    }
}

#[test]
fn a_row_of_a_table_is_read_in_every_format() {
    for format in formats() {
        let table = sample(format, &[19, 1280], 9);
        let got = embed(&table, &[18, 0, 7, 7]).unwrap();
        assert_eq!(bits(&got), bits(&embed(&decoded(&table), &[18, 0, 7, 7]).unwrap()), "{format:?}");
    }
}

#[test]
fn decoding_gives_the_same_bits_with_and_without_vector_instructions() {
    for format in formats() {
        let weight = sample(format, &[3, 1536], 10);
        let reading = weight.read(OP).unwrap();
        let mut plain = vec![0f32; 1536];
        for row in 0..3 {
            reading.rows().decode(Plain, row, 0..1536, &mut plain);
            let same = plain
                .iter()
                .zip(weight.to_f32(row..row + 1).unwrap())
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{format:?} row {row}");
        }
    }
}

#[test]
fn every_half_precision_number_is_widened_exactly() {
    let codes: Vec<u16> = (0..=u16::MAX).collect();
    let check = |format, want: &dyn Fn(u16) -> f32| {
        let mut builder = WeightBuilder::new(format, &[1, codes.len()]).unwrap();
        builder.all().copy(bytemuck::cast_slice(&codes)).unwrap();
        for (code, got) in codes.iter().zip(builder.finish().to_f32(0..1).unwrap()) {
            let want = want(*code);
            let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
            assert!(same, "{format:?} {code:#x}: {got} {want}");
        }
    };
    check(Format::F16, &|code| half::f16::from_bits(code).to_f32());
    check(Format::Bf16, &|code| half::bf16::from_bits(code).to_f32());
    // The scale of a block is widened by another function.
    for code in codes.iter().copied().filter(|code| !half::f16::from_bits(*code).is_nan()) {
        assert_eq!(
            float::f16_to_f32(code).to_bits(),
            half::f16::from_bits(code).to_f32().to_bits(),
            "{code:#x}"
        );
    }
}

#[test]
fn every_fp8_code_has_the_value_of_its_fields() {
    let mut builder = WeightBuilder::new(Format::Fp8 { block: 256 }, &[1, 256]).unwrap();
    builder.all().fp8(&(0..=255).collect::<Vec<u8>>(), &[1.0]).unwrap();
    let values = builder.finish().to_f32(0..1).unwrap();
    for (code, got) in (0..=u8::MAX).zip(&values) {
        let (exponent, fraction) = (i32::from(code >> 3 & 15), f64::from(code & 7));
        let size = if exponent == 0 {
            fraction / 8.0 * 2f64.powi(-6)
        } else {
            (1.0 + fraction / 8.0) * 2f64.powi(exponent - 7)
        };
        let want = if code & 0x80 == 0 { size } else { -size };
        if code & 0x7f == 0x7f {
            assert!(got.is_nan(), "{code:#x}");
        } else {
            assert_eq!(f64::from(*got).to_bits(), want.to_bits(), "{code:#x}");
        }
    }
    assert_eq!((values[0x7e], values[0x01]), (448.0, 2f32.powi(-9)));
}

#[test]
fn an_fp8_scale_reaches_its_block_and_no_further() {
    let (width, one) = (300, 0x38);
    let mut builder = WeightBuilder::new(Format::Fp8 { block: 128 }, &[2, width]).unwrap();
    builder.all().fp8(&vec![one; 2 * width], &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]).unwrap();
    let values = builder.finish().to_f32(0..2).unwrap();
    for (i, value) in values.iter().enumerate() {
        let (row, block) = (i / width, i % width / 128);
        assert_eq!(value.to_bits(), ([1.0, 10.0][row] * (1 + block) as f32).to_bits(), "element {i}");
    }
}

#[test]
fn every_mxfp4_code_and_scale_has_its_value() {
    let row = |codes: &[u8; 16], scale| {
        let mut builder = WeightBuilder::new(Format::Mxfp4, &[1, 32]).unwrap();
        builder.all().mxfp4(codes, &[scale]).unwrap();
        builder.finish().to_f32(0..1).unwrap()
    };
    let sizes = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0f32];
    // Byte `i` has code `i` as its even element and `15 - i` as its odd one.
    let values = row(&std::array::from_fn(|i| (i | (15 - i) << 4) as u8), 127);
    let value = |code: usize| if code < 8 { sizes[code] } else { -sizes[code - 8] };
    for (i, pair) in values.as_chunks::<2>().0.iter().enumerate() {
        let want = [value(i), value(15 - i)];
        assert_eq!(pair.map(f32::to_bits), want.map(f32::to_bits), "byte {i}");
    }
    for scale in 0..255u8 {
        let want = 2f64.powi(i32::from(scale) - 127);
        assert_eq!(f64::from(mxfp4::ue8m0(scale)).to_bits(), want.to_bits(), "{scale}");
    }
    assert!(mxfp4::ue8m0(255).is_nan());
    // The smallest element that is not zero and the largest, each beyond what f32 holds as a normal number.
    assert_eq!(row(&[0x71; 16], 0)[..2], [f32::from_bits(1 << 21), 6.0 * f32::from_bits(1 << 22)]);
    assert_eq!(row(&[0x71; 16], 254)[..2], [2f32.powi(126), f32::INFINITY]);
}

#[test]
fn mxfp4_of_a_gguf_file_is_put_in_order() {
    // Its byte `i` has the elements `i` and `i + 16`.
    let mut block = [127u8; 17];
    for i in 0..16u8 {
        block[1 + i as usize] = (i / 2 % 8) | (i / 3) << 4;
    }
    let mut builder = WeightBuilder::new(Format::Mxfp4, &[1, 32]).unwrap();
    builder.all().mxfp4_of_ggml(&block).unwrap();
    let sizes = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0f32];
    let code = |i: usize| if i < 16 { i / 2 % 8 } else { (i - 16) / 3 };
    let want: Vec<f32> = (0..32).map(|i| sizes[code(i)]).collect();
    assert_eq!(builder.finish().to_f32(0..1).unwrap(), want);
}

#[test]
fn every_block_type_is_read_as_candle_reads_it() {
    let (rows, width) = (6, 1536);
    for format in BLOCKS {
        // Every bit of every field occurs, scales that are no numbers included.
        let words: Vec<u64> = noise(rows * format.row_bytes(width) / 8, 11)
            .map(|n| n.wrapping_mul(0x1_0001_0001_0001))
            .collect();
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        let dtype = dtype(format).unwrap();
        let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype).unwrap();
        let theirs = QTensor::new(storage, (rows, width)).unwrap().dequantize(&Device::Cpu).unwrap();
        let mut builder = WeightBuilder::new(format, &[rows, width]).unwrap();
        builder.all().copy(bytes).unwrap();
        let ours = builder.finish().to_f32(0..rows).unwrap();
        for (i, (ours, theirs)) in
            ours.iter().zip(theirs.flatten_all().unwrap().to_vec1::<f32>().unwrap()).enumerate()
        {
            let same = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
            assert!(same, "{format:?} element {i}: {ours} {theirs}");
        }
    }
}

/// What quantising weights that are about normal costs a product: the error's mean square against the outputs', and
/// its largest against their deviation.
#[test]
fn a_quantised_product_stays_within_its_bound_of_f32() {
    let (rows, outputs, width) = (8, 64, 2048);
    let (x, w) = (matrix(rows, normal(rows * width, 13)), normal(outputs * width, 14));
    let product = |format| {
        let weight = Weight::encode(format, &[outputs, width], &w).unwrap();
        linear(&x, &weight, None).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let exact = product(Format::F32);
    let deviation = (exact.iter().map(|y| y * y).sum::<f32>() / exact.len() as f32).sqrt();
    for (format, mean_bound, worst_bound) in [
        (Format::F16, 0.0004, 0.0015),
        (Format::Bf16, 0.003, 0.012),
        (Format::Q8_0, 0.008, 0.03),
        (Format::Q6K, 0.03, 0.10),
        (Format::Q5K, 0.05, 0.18),
        (Format::Q4K, 0.10, 0.35),
        (Format::Q4_0, 0.13, 0.45),
    ] {
        let errors: Vec<f32> =
            product(format).iter().zip(&exact).map(|(y, exact)| (y - exact).abs() / deviation).collect();
        let mean = (errors.iter().map(|e| e * e).sum::<f32>() / errors.len() as f32).sqrt();
        let worst = errors.iter().fold(0f32, |a, b| a.max(*b));
        println!("{}: mean {mean:.5}, worst {worst:.5}", format.name());
        assert!(mean < mean_bound && worst < worst_bound, "{}: mean {mean}, worst {worst}", format.name());
    }
}

#[test]
fn rows_from_several_places_become_one_weight() {
    let (count, rows, width) = (3, 10, 512);
    let values = normal(count * rows * width, 15);
    for format in [Format::Bf16, Format::Q8_0, Format::Q4K] {
        let whole = Weight::encode(format, &[count, rows, width], &values).unwrap();
        let mut builder = WeightBuilder::new(format, &[count, rows, width]).unwrap();
        let parts: Vec<RowsMut<'_>> = builder.all().chunks(7);
        assert_eq!(parts.iter().map(RowsMut::len).collect::<Vec<_>>(), [7, 7, 7, 7, 2]);
        std::thread::scope(|scope| {
            for (mut part, values) in parts.into_iter().zip(values.chunks(7 * width)) {
                scope.spawn(move || part.encode(values).unwrap());
            }
        });
        let built = builder.finish();
        assert_eq!(built.to_f32(0..30).unwrap(), whole.to_f32(0..30).unwrap(), "{format:?}");
        assert_eq!(built.bytes(), count * rows * format.row_bytes(width));
        assert_eq!(built.to_f32(13..15).unwrap(), whole.to_f32(0..30).unwrap()[13 * width..15 * width]);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_a_reason() {
    let text = |result: Result<(), KernelError>| result.unwrap_err().to_string();
    let new = |format, width| WeightBuilder::new(format, &[2, width]);
    assert_eq!(
        text(new(Format::Q4K, 320).map(drop)),
        "weight: q4_k stores 256 elements together, a row has 320"
    );
    assert_eq!(
        text(new(Format::Mxfp4, 48).map(drop)),
        "weight: mxfp4 stores 32 elements together, a row has 48"
    );
    assert!(text(new(Format::Fp8 { block: 0 }, 48).map(drop)).contains("fp8"));
    assert!(text(new(Format::F32, 0).map(drop)).contains("a row has 0"));
    assert!(text(WeightBuilder::new(Format::F32, &[3]).map(drop)).contains("no matrix"));
    let mut fp8 = new(Format::Fp8 { block: 128 }, 200).unwrap();
    assert_eq!(text(fp8.all().copy(&[0; 400])), "weight: rows of fp8-e4m3 need their scales");
    assert_eq!(text(fp8.all().fp8(&[0; 400], &[1.0; 3])), "weight: 3 scales for rows that take 4");
    assert!(text(fp8.all().encode(&[0.0; 400])).contains("read but not made"));
    assert!(text(fp8.all().mxfp4(&[0; 200], &[])).contains("not MXFP4"));
    let mut bf16 = new(Format::Bf16, 8).unwrap();
    assert_eq!(text(bf16.all().copy(&[0; 31])), "weight: 31 bytes for rows that take 32");
    assert!(bf16.finish().to_f32(1..3).unwrap_err().to_string().contains("of 2"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any shape is either refused or computed as the decoded weight would be.
    #[test]
    fn odd_shapes_are_refused_or_exact(
        format in prop::sample::select(formats().collect::<Vec<_>>()),
        rows in 0usize..9,
        outputs in 1usize..23,
        width in prop_oneof![1usize..1500, (1usize..50).prop_map(|n| n * 32), (1usize..10).prop_map(|n| n * 256)],
    ) {
        let fits = width.is_multiple_of(format.block().0);
        prop_assert_eq!(WeightBuilder::new(format, &[outputs, width]).is_ok(), fits);
        if fits {
            let weight = sample(format, &[outputs, width], width as u64);
            let x = Tensor::from_vec(normal(rows * width, 2), (rows, width), &Device::Cpu).unwrap();
            let got = linear(&x, &weight, None).unwrap();
            prop_assert_eq!(bits(&got), bits(&linear(&x, &decoded(&weight), None).unwrap()));
        }
    }
}
