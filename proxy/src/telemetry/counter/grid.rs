//! Rows that appear when first touched, reached by number in two steps and never moved.

use std::sync::OnceLock;

const PAGE: usize = 256;

type Page<T> = Box<[OnceLock<Box<T>>]>;

/// Up to `PAGE`² rows by number.
#[derive(Debug)]
pub(super) struct Grid<T> {
    pages: Box<[OnceLock<Page<T>>]>,
}

impl<T: Default> Grid<T> {
    pub(super) fn new(rows: usize) -> Self {
        Self {
            pages: (0..rows.div_ceil(PAGE)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The row, made if it was not there. Numbers beyond the grid get row 0.
    #[inline]
    pub(super) fn row(&self, number: usize) -> &T {
        let (page, number) = match self.pages.get(number / PAGE) {
            Some(page) => (page, number % PAGE),
            None => (&self.pages[0], 0),
        };
        let page = page.get_or_init(|| (0..PAGE).map(|_| OnceLock::new()).collect());
        page[number].get_or_init(Box::default)
    }

    /// The row, if it was ever touched.
    pub(super) fn touched(&self, number: usize) -> Option<&T> {
        Some(self.pages.get(number / PAGE)?.get()?[number % PAGE].get()?)
    }
}
