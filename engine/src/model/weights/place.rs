//! Where the rows of a tensor lie: in one file or in several pieces, in order or not.
//!
//! The families know the hub's names and layout. A checkpoint that has the same numbers elsewhere (the experts of
//! a GGUF file in one tensor, gate and up apart, the rows of a head in another order) is described by a
//! [`Place`] that finds them, so nothing is moved before it goes to where it stays.

use std::ops::Range;

use kernels::Format;

/// A tensor as the families ask for it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) shape: Vec<usize>,
    pub(crate) rows: Rows,
    /// Whether a tensor of all experts is `[E, rows, width]`, however the hub has it.
    pub(crate) by_rows: bool,
}

/// How the rows of a tensor follow from those that are stored.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    /// As they are stored.
    InOrder(Slice),
    /// The two halves of each head of `dim` rows are stored alternately: row `i` of the first half is stored at
    /// `2 i` and of the second at `2 i + 1`, which is how llama.cpp wants them for its rope.
    Heads { stored: Slice, dim: usize },
    /// Row `2 i` is row `i` of the first, row `2 i + 1` row `i` of the second.
    Alternate([Slice; 2]),
    /// For each head, the columns of a matrix of `keys`, `[H W, key rows]`, then rows of `values`, `[H value rows, W]`.
    Latent { keys: Slice, values: Slice, heads: usize },
}

/// Consecutive rows in a file.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// Which of the checkpoint's files.
    pub(crate) file: usize,
    /// Where the first row begins, in bytes.
    pub(crate) start: usize,
    pub(crate) rows: usize,
    /// Elements of a row.
    pub(crate) width: usize,
    pub(crate) format: Format,
    pub(crate) scales: Scales,
}

/// Where the scales of a slice lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scales {
    /// Nowhere, or in the blocks, as the format has it.
    None,
    /// In the blocks of MXFP4, as GGUF has it.
    Ggml,
    /// One byte for each block of MXFP4, in rows like those of the blocks.
    Mxfp4 { file: usize, start: usize },
    /// Numbers that FP8 is multiplied by, row by row; each is for `rows` rows, and all columns of the format's block.
    Fp8 { file: usize, start: usize, format: Format, rows: usize },
}

impl Slice {
    /// Bytes of one row, scales in other tensors aside.
    pub(crate) fn row_bytes(&self) -> usize {
        match (self.format, &self.scales) {
            (Format::Fp8 { .. }, _) => self.width,
            (Format::Mxfp4, Scales::Mxfp4 { .. }) => self.width / 2,
            (format, _) => format.row_bytes(self.width),
        }
    }

    /// Where some of the rows lie in the file.
    pub(crate) fn bytes(&self, rows: Range<usize>) -> Range<usize> {
        let row = self.row_bytes();
        self.start + rows.start * row..self.start + rows.end * row
    }

    /// Rows of this slice as a slice of their own. Not for slices with scales elsewhere.
    pub(crate) fn part(&self, rows: Range<usize>) -> Self {
        Self { start: self.bytes(rows.clone()).start, rows: rows.len(), ..self.clone() }
    }
}

impl Place {
    /// A tensor that is stored as it is asked for.
    pub(crate) fn plain(shape: Vec<usize>, stored: Slice) -> Self {
        Self { shape, rows: Rows::InOrder(stored), by_rows: false }
    }

    /// What its rows are taken from.
    pub(crate) fn slices(&self) -> &[Slice] {
        match &self.rows {
            Rows::InOrder(stored) | Rows::Heads { stored, .. } => std::slice::from_ref(stored),
            Rows::Alternate(both) => both,
            // Never taken row by row.
            Rows::Latent { keys, .. } => std::slice::from_ref(keys),
        }
    }

    /// Which slice has row `row`, and where in it.
    pub(crate) fn locate(&self, row: usize) -> (usize, usize) {
        match self.rows {
            Rows::InOrder(_) | Rows::Latent { .. } => (0, row),
            Rows::Heads { dim, .. } => {
                let (head, i) = (row / dim, row % dim);
                (0, head * dim + i % (dim / 2) * 2 + i / (dim / 2))
            }
            Rows::Alternate(_) => (row % 2, row / 2),
        }
    }

    /// The format of all rows, if it is one.
    pub(crate) fn format(&self) -> Option<Format> {
        let Rows::Latent { .. } = self.rows else {
            let slices = self.slices();
            return slices.iter().all(|slice| slice.format == slices[0].format).then(|| slices[0].format);
        };
        None
    }

    /// Elements of a row, as rows are found here: those of a vector may be its single elements.
    pub(crate) fn row_width(&self) -> usize {
        match &self.rows {
            Rows::Latent { values, .. } => values.width,
            _ => self.slices()[0].width,
        }
    }

    /// Elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(rows: usize) -> Slice {
        Slice { file: 0, start: 100, rows, width: 1, format: Format::F32, scales: Scales::None }
    }

    #[test]
    fn the_rows_of_a_head_are_found_where_llama_cpp_puts_them() {
        // Written out for two heads of six: (0 3 1 4 2 5) is the order in which a head's rows are stored.
        let place =
            Place { shape: vec![12], rows: Rows::Heads { stored: stored(12), dim: 6 }, by_rows: false };
        let found: Vec<usize> = (0..12).map(|row| place.locate(row).1).collect();
        assert_eq!(found, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    }

    #[test]
    fn alternate_rows_come_from_two_slices() {
        let place = Place { shape: vec![4], rows: Rows::Alternate([stored(2), stored(2)]), by_rows: false };
        assert_eq!((0..4).map(|row| place.locate(row)).collect::<Vec<_>>(), [(0, 0), (1, 0), (0, 1), (1, 1)]);
    }
}
