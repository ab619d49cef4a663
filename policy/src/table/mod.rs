//! The tables of an artifact: every row is a fixed number of 32-bit words, read in place.
//!
//! One struct per table says what a row holds; the same struct writes it (compiler) and reads it (gateway).
//! [`Row::COLUMNS`] describes the words, so that the verifier checks every id, range and enumeration and the
//! disassembler prints every row without knowing any table by name.

use alloc::vec::Vec;
use core::marker::PhantomData;

mod entity;
mod health;
mod plugin;
mod routing;
mod stream;

pub use entity::*;
pub use health::*;
pub use plugin::*;
pub use routing::*;
pub use stream::*;

/// What the words of one column mean. The verifier checks each of them at load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One word, any value.
    Int,
    /// One word, 0 or 1.
    Bool,
    /// Two words, low word first.
    Long,
    /// Two words, the bits of an IEEE 754 double; finite.
    Float,
    /// One word below the count of names, which are given.
    Choice(&'static [&'static str]),
    /// Offset and length in the text section.
    Text,
    /// Eight words: a BLAKE3 digest.
    Digest,
    /// Row number in a table.
    Id(Table),
    /// 0, or one plus a row number.
    MaybeId(Table),
    /// First row and count of consecutive rows in a table.
    Rows(Table),
    /// First instruction of an entry; [`NO_CODE`] when there is none.
    Code,
    /// Offset and length in the automata section.
    Automaton,
}

/// The value of a [`Shape::Code`] column that names no instruction.
pub const NO_CODE: u32 = u32::MAX;

impl Shape {
    /// Words that the column takes.
    pub const fn width(self) -> usize {
        match self {
            Self::Int | Self::Bool | Self::Choice(_) | Self::Id(_) | Self::MaybeId(_) | Self::Code => 1,
            Self::Long | Self::Float | Self::Text | Self::Rows(_) | Self::Automaton => 2,
            Self::Digest => 8,
        }
    }
}

/// A named column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Field name of the row's struct.
    pub name: &'static str,
    /// What its words mean.
    pub shape: Shape,
}

/// A value that a column holds.
pub trait Cell: Sized {
    /// How the words are checked.
    const SHAPE: Shape;
    /// Reads the value; the words have passed the verifier.
    fn read(words: &[u32]) -> Self;
    /// Appends the words.
    fn write(&self, out: &mut Vec<u32>);
}

/// A row of a table.
pub trait Row: Sized {
    /// The table that holds such rows.
    const TABLE: Table;
    /// Words of a row.
    const WIDTH: usize;
    /// The columns in word order.
    const COLUMNS: &'static [Column];
    /// Reads a row from exactly [`Row::WIDTH`] verified words.
    fn read(words: &[u32]) -> Self;
    /// Appends exactly [`Row::WIDTH`] words.
    fn write(&self, out: &mut Vec<u32>);
}

/// A row number in the table of `R`.
pub struct Id<R>(u32, PhantomData<fn() -> R>);

impl<R> Id<R> {
    /// The row with this number. The verifier, or the builder that numbered it, keeps it in range.
    pub const fn new(number: u32) -> Self {
        Self(number, PhantomData)
    }
    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }
    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl<R> Clone for Id<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Id<R> {}
impl<R> PartialEq for Id<R> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<R> Eq for Id<R> {}
impl<R> core::hash::Hash for Id<R> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<R> core::fmt::Debug for Id<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Consecutive rows in the table of `R`.
pub struct Rows<R> {
    /// Number of the first row.
    pub first: u32,
    /// How many rows.
    pub count: u32,
    kind: PhantomData<fn() -> R>,
}

impl<R> Rows<R> {
    /// No rows.
    pub const NONE: Self = Self::new(0, 0);
    /// `count` rows from `first` on.
    pub const fn new(first: u32, count: u32) -> Self {
        Self {
            first,
            count,
            kind: PhantomData,
        }
    }
    /// Whether there is no row.
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }
    /// Every id in order.
    pub fn ids(self) -> impl Iterator<Item = Id<R>> + use<R> {
        (self.first..self.first + self.count).map(Id::new)
    }
}

impl<R> Clone for Rows<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Rows<R> {}
impl<R> PartialEq for Rows<R> {
    fn eq(&self, other: &Self) -> bool {
        (self.first, self.count) == (other.first, other.count)
    }
}
impl<R> Eq for Rows<R> {}
impl<R> core::fmt::Debug for Rows<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "#{}+{}", self.first, self.count)
    }
}

/// UTF-8 in the text section.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Text {
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

impl Text {
    /// The empty text, which is also how an absent text is written.
    pub const EMPTY: Self = Self { offset: 0, len: 0 };
    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// A serialised automaton in the automata section.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Automaton {
    /// First byte; a multiple of four.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

/// Where an entry of a program starts; absent when the phase has nothing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(pub Option<u32>);

macro_rules! cell {
    ($ty:ty, $shape:expr, |$words:ident| $read:expr, |$value:ident, $out:ident| $write:expr) => {
        impl Cell for $ty {
            const SHAPE: Shape = $shape;
            #[inline]
            fn read($words: &[u32]) -> Self {
                $read
            }
            fn write(&self, $out: &mut Vec<u32>) {
                let $value = self;
                $write
            }
        }
    };
}

cell!(u32, Shape::Int, |words| words[0], |value, out| out.push(*value));
cell!(bool, Shape::Bool, |words| words[0] != 0, |value, out| out
    .push(u32::from(*value)));
cell!(
    u64,
    Shape::Long,
    |words| u64::from(words[0]) | u64::from(words[1]) << 32,
    |value, out| {
        let bytes = value.to_le_bytes();
        out.push(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        out.push(u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]));
    }
);
cell!(
    f64,
    Shape::Float,
    |words| Self::from_bits(<u64 as Cell>::read(words)),
    |value, out| value.to_bits().write(out)
);
cell!(
    Text,
    Shape::Text,
    |words| Self {
        offset: words[0],
        len: words[1]
    },
    |value, out| {
        out.extend([value.offset, value.len]);
    }
);
cell!(
    Automaton,
    Shape::Automaton,
    |words| Self {
        offset: words[0],
        len: words[1]
    },
    |value, out| {
        out.extend([value.offset, value.len]);
    }
);
cell!(
    Code,
    Shape::Code,
    |words| Self((words[0] != NO_CODE).then_some(words[0])),
    |value, out| out.push(value.0.unwrap_or(NO_CODE))
);
cell!(
    [u8; 32],
    Shape::Digest,
    |words| {
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        digest
    },
    |value, out| out.extend(
        value
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    )
);

impl<R: Row> Cell for Id<R> {
    const SHAPE: Shape = Shape::Id(R::TABLE);
    #[inline]
    fn read(words: &[u32]) -> Self {
        Self::new(words[0])
    }
    fn write(&self, out: &mut Vec<u32>) {
        out.push(self.0);
    }
}

impl<R: Row> Cell for Option<Id<R>> {
    const SHAPE: Shape = Shape::MaybeId(R::TABLE);
    #[inline]
    fn read(words: &[u32]) -> Self {
        words[0].checked_sub(1).map(Id::new)
    }
    fn write(&self, out: &mut Vec<u32>) {
        out.push(self.map_or(0, |id| id.0 + 1));
    }
}

impl<R: Row> Cell for Rows<R> {
    const SHAPE: Shape = Shape::Rows(R::TABLE);
    #[inline]
    fn read(words: &[u32]) -> Self {
        Self::new(words[0], words[1])
    }
    fn write(&self, out: &mut Vec<u32>) {
        out.extend([self.first, self.count]);
    }
}

/// Declares row structs and how their words are laid out, in field order.
macro_rules! rows {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$field_meta:meta])* $field:ident : $ty:ty, )* } )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $ty, )* }

        impl $crate::table::Row for $name {
            const TABLE: $crate::table::Table = $crate::table::Table::$name;
            const WIDTH: usize = 0 $( + <$ty as $crate::table::Cell>::SHAPE.width() )*;
            const COLUMNS: &'static [$crate::table::Column] = &[ $(
                $crate::table::Column { name: stringify!($field), shape: <$ty as $crate::table::Cell>::SHAPE },
            )* ];
            // Inlined, a row costs only the columns that its reader uses.
            #[inline(always)]
            fn read(words: &[u32]) -> Self {
                let mut at = 0;
                $(
                    let width = <$ty as $crate::table::Cell>::SHAPE.width();
                    let $field = <$ty as $crate::table::Cell>::read(&words[at..at + width]);
                    at += width;
                )*
                let _ = at;
                Self { $( $field, )* }
            }
            fn write(&self, out: &mut alloc::vec::Vec<u32>) {
                $( $crate::table::Cell::write(&self.$field, out); )*
            }
        }
    )* };
}

/// Declares an enumeration that is stored as one word.
macro_rules! choice {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )* } )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$variant_meta])* $variant, )* }

        impl $name {
            /// Every variant in the order of its stored word.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];
            /// The word that operators write for it.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
            /// The variant that operators call by this word.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( $text => Some(Self::$variant), )* _ => None }
            }
        }

        impl $crate::table::Cell for $name {
            const SHAPE: $crate::table::Shape = $crate::table::Shape::Choice(&[ $( $text, )* ]);
            #[inline]
            fn read(words: &[u32]) -> Self {
                // The verifier has refused every word beyond the last variant. Without a panic here, a reader of
                // other columns leaves this one alone.
                Self::ALL.get(words[0] as usize).copied().unwrap_or(Self::ALL[0])
            }
            fn write(&self, out: &mut alloc::vec::Vec<u32>) {
                out.push(*self as u32);
            }
        }
    )* };
}

pub(crate) use {choice, rows};

macro_rules! tables {
    ($( $name:ident, )*) => {
        /// The tables in the order in which an artifact holds them. The discriminant is the section's kind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each table is documented at its row's struct")]
        pub enum Table { $( $name, )* }

        impl Table {
            /// Every table.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];
            /// Words of a row.
            pub const fn width(self) -> usize {
                match self { $( Self::$name => <$name as Row>::WIDTH, )* }
            }
            /// The columns of a row.
            pub const fn columns(self) -> &'static [Column] {
                match self { $( Self::$name => <$name as Row>::COLUMNS, )* }
            }
            /// The name of the row's struct.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => stringify!($name), )* }
            }
        }
    };
}

tables! {
    Meta, Source, Host, Bucket, Node, Candidate, Subroute, HeaderTest, Word, Name, Seed, Regex, Route,
    Service, Upstream, Target, Certificate, Sni, Authority, Secret, Consumer, Group, Credential, Membership,
    Select, Level, Instance, Refusal, Line, Response, Acl, Cidr, IpRule, Quota, Period, Size, Correlation,
    EditList, Edit, Part, Cors, Origin, Metrics, Log, Model, Budget, Rule, Condition, Ceiling,
    HealthRules, Status, Probe, StreamRoute, AddressTest,
}
