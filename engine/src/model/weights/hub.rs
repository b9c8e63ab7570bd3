//! The safetensors files of a folder, as the hub lays them out.
//!
//! A folder holds either `model.safetensors` or several files with `model.safetensors.index.json`; Mistral's own form
//! has `consolidated` for `model`, and other names for the tensors. Scales that
//! lie beside their tensor become part of its [`Place`] here, so that the families know nothing of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use kernels::Format;
use safetensors::{Dtype, SafeTensors};

use super::map::Map;
use super::place::{Place, Rows, Scales, Slice};
use super::quantization::Quantization;
use super::wrong;
use crate::model::ModelError;
use crate::model::native::{self, hub_name};

/// Elements of an MXFP4 block, and bytes of its elements.
const MXFP4_BLOCK: usize = 32;
const MXFP4_BLOCK_BYTES: usize = 16;

/// What ends the name of a scale that an FP8 weight is multiplied by, after the weight's own name.
const FP8_SCALES: [&str; 2] = ["_scale_inv", "_scale"];
/// What ends the names of tensors that are about activations or a cache in FP8, neither of which there is.
const WITHOUT_EFFECT: [&str; 5] =
    [".input_scale", ".activation_scale", ".k_scale", ".v_scale", ".output_scale"];

/// A tensor as a header describes it.
struct Info {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
}

/// Maps the files of a folder and finds their tensors.
pub(super) fn open(
    folder: &Path,
    quantization: &Quantization,
) -> Result<(Vec<Map>, BTreeMap<String, Place>), ModelError> {
    let (mut files, mut infos) = (Vec::new(), BTreeMap::new());
    let native = native::is_in(folder);
    for path in weight_files(folder, if native { "consolidated" } else { "model" })? {
        let map = Map::open(&path)?;
        read_header(&map, files.len(), native, &mut infos)?;
        files.push(map);
    }
    let places = places(infos, quantization)?;
    Ok((files, places))
}

fn read_header(
    map: &Map,
    file: usize,
    native: bool,
    infos: &mut BTreeMap<String, Info>,
) -> Result<(), ModelError> {
    let damaged = |source| ModelError::Safetensors { path: map.path().to_owned(), source };
    let (header, metadata) = SafeTensors::read_metadata(map.bytes()).map_err(damaged)?;
    let data = header + size_of::<u64>();
    for (name, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        let name = if native { hub_name(&name) } else { name };
        let place =
            Info { file, dtype: info.dtype, shape: info.shape.clone(), start: data.saturating_add(start) };
        if data.saturating_add(end) > map.bytes().len() || infos.insert(name.clone(), place).is_some() {
            return Err(wrong(&name, "is cut off or appears in two files".to_owned()));
        }
    }
    Ok(())
}

/// The tensors with their scales.
fn places(
    mut infos: BTreeMap<String, Info>,
    quantization: &Quantization,
) -> Result<BTreeMap<String, Place>, ModelError> {
    infos.retain(|name, _| !WITHOUT_EFFECT.iter().any(|ending| name.ends_with(ending)));
    let mut places = BTreeMap::new();
    let mut scales_used = BTreeSet::new();
    for (name, info) in &infos {
        let place = match info.dtype {
            Dtype::F32 => plain(info, Format::F32),
            Dtype::F16 => plain(info, Format::F16),
            Dtype::BF16 => plain(info, Format::Bf16),
            Dtype::F8_E4M3 => {
                let scale = FP8_SCALES.iter().map(|ending| format!("{name}{ending}"));
                let found = scale.into_iter().find_map(|scale| infos.get_key_value(&scale));
                let (scale_name, scale) =
                    found.ok_or_else(|| wrong(name, "is FP8 and has no scale beside it".to_owned()))?;
                scales_used.insert(scale_name.clone());
                fp8(name, info, scale, quantization)?
            }
            Dtype::U8 => {
                let Some(stem) = name.strip_suffix("_blocks") else { continue };
                let scale_name = format!("{stem}_scales");
                let scale = infos.get(&scale_name);
                let scale = scale.ok_or_else(|| wrong(name, format!("has no {scale_name} beside it")))?;
                scales_used.extend([name.clone(), scale_name]);
                places.insert(stem.to_owned(), mxfp4(name, info, scale)?);
                continue;
            }
            _ => continue,
        };
        places.insert(name.clone(), place);
    }
    places.retain(|name, _| !scales_used.contains(name));
    match infos.iter().find(|(name, _)| !places.contains_key(*name) && !scales_used.contains(*name)) {
        Some((name, info)) => {
            let read = "f32, f16, bf16, FP8 (e4m3) with its scale and MXFP4 in blocks are read";
            Err(wrong(name, format!("is stored as {:?}; {read}", info.dtype)))
        }
        None => Ok(places),
    }
}

/// All dimensions but the last are rows.
fn slice(info: &Info, format: Format) -> Slice {
    let width = info.shape.last().copied().unwrap_or(1).max(1);
    let rows = info.shape.iter().product::<usize>() / width;
    Slice { file: info.file, start: info.start, rows, width, format, scales: Scales::None }
}

fn plain(info: &Info, format: Format) -> Place {
    Place::plain(info.shape.clone(), slice(info, format))
}

/// An FP8 weight with one scale, one for each row, or one for each block of rows and columns.
fn fp8(name: &str, info: &Info, scale: &Info, quantization: &Quantization) -> Result<Place, ModelError> {
    let format = match scale.dtype {
        Dtype::F32 => Format::F32,
        Dtype::BF16 => Format::Bf16,
        Dtype::F16 => Format::F16,
        other => {
            return Err(wrong(name, format!("has scales of type {other:?}; f32, f16 and bf16 are read")));
        }
    };
    let mut stored = slice(info, Format::F32);
    let matrix_rows = info.shape.iter().rev().nth(1).copied().unwrap_or(1);
    let grid: usize = scale.shape.iter().product();
    let blocks = quantization.fp8_block.filter(|[high, wide]| {
        let wanted =
            stored.rows / matrix_rows.max(1) * matrix_rows.div_ceil(*high) * stored.width.div_ceil(*wide);
        // A stack whose matrices end inside a block would share its scales between two of them.
        grid == wanted && (stored.rows == matrix_rows || matrix_rows.is_multiple_of(*high))
    });
    let (rows, block) = match blocks {
        Some([high, wide]) => (high, wide),
        None if grid == 1 => (stored.rows.max(1), stored.width),
        None if grid == stored.rows => (1, stored.width),
        None => {
            let (have, shape, block) = (&scale.shape, &info.shape, quantization.fp8_block);
            let detail =
                format!("has shape {shape:?} and scales {have:?}, which blocks of {block:?} do not explain");
            return Err(wrong(name, detail));
        }
    };
    stored.format = Format::Fp8 { block };
    stored.scales = Scales::Fp8 { file: scale.file, start: scale.start, format, rows };
    Ok(Place::plain(info.shape.clone(), stored))
}

/// The matrices of all experts as gpt-oss has them: `[E, rows, width / 32, 16]` bytes.
fn mxfp4(name: &str, info: &Info, scale: &Info) -> Result<Place, ModelError> {
    let [count, rows, blocks, MXFP4_BLOCK_BYTES] = info.shape[..] else {
        return Err(wrong(name, format!("has shape {:?}, not [experts, rows, blocks, 16]", info.shape)));
    };
    if scale.dtype != Dtype::U8 || scale.shape != [count, rows, blocks] {
        return Err(wrong(name, format!("has scales {:?} of shape {:?}", scale.dtype, scale.shape)));
    }
    let stored = Slice {
        file: info.file,
        start: info.start,
        rows: count * rows,
        width: blocks * MXFP4_BLOCK,
        format: Format::Mxfp4,
        scales: Scales::Mxfp4 { file: scale.file, start: scale.start },
    };
    let shape = vec![count, rows, stored.width];
    Ok(Place { shape, rows: Rows::InOrder(stored), by_rows: true })
}

/// The part of an index file that says where tensors are.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// The safetensors files of a folder whose names begin with `stem`: the single one, or those that the index names.
fn weight_files(folder: &Path, stem: &str) -> Result<Vec<PathBuf>, ModelError> {
    let single = folder.join(format!("{stem}.safetensors"));
    if single.exists() {
        return Ok(vec![single]);
    }
    let path = folder.join(format!("{stem}.safetensors.index.json"));
    let text =
        std::fs::read_to_string(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
    let index: Index =
        serde_json::from_str(&text).map_err(|source| ModelError::Json { path: path.clone(), source })?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    // A name with a separator would reach outside the folder.
    match names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
        Some(name) => Err(wrong(name, "is not a plain file name".to_owned())),
        None => Ok(names.iter().map(|name| folder.join(name)).collect()),
    }
}
