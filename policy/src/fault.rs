//! Why an artifact is refused: one fault, with the section and the place in it.

use core::fmt;

/// The first thing that is wrong with an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Section, or `header`.
    pub section: &'static str,
    /// Byte in the file for `header`, row or instruction number in a section.
    pub at: u64,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Shorter than its header says, or than a header is.
    Truncated,
    /// Longer than its header says.
    TrailingBytes,
    /// Not an artifact, or damaged by a text-mode transfer.
    Magic,
    /// Written for another major version.
    Version(u16, u16),
    /// Needs a feature that this build does not know.
    Feature,
    /// Section table out of order, out of range, overlapping or misaligned.
    Layout,
    /// Bytes between sections are not zero.
    Padding,
    /// Bytes differ from their digest.
    Digest,
    /// A required section is missing.
    Missing,
    /// Rows have another width than this build knows.
    Width,
    /// Not UTF-8, or a text cut inside a character.
    Text,
    /// A reference points outside its table: column.
    Reference(&'static str),
    /// A value outside its enumeration or kind: column.
    Value(&'static str),
    /// Rows are not in the order that look-ups rely on: column.
    Order(&'static str),
    /// A perfect hash does not map its keys to their slots.
    Hash,
    /// An automaton does not pass its own checks.
    Automaton,
    /// Unknown opcode.
    Opcode(u8),
    /// Register out of range.
    Register(u8),
    /// Jump that does not go forward inside the code.
    Jump,
    /// A path that ends without a verdict.
    NoVerdict,
    /// A register used before it is set on every path, or with another kind.
    Operand(u8),
    /// An instruction that this entry may not use.
    Entry,
    /// More effects than an exchange can hold.
    Effects,
    /// Costs more than the budget: cost, budget.
    Cost(u32, u32),
    /// The stated cost is not the proven one: stated, proven.
    CostMismatch(u32, u32),
    /// A header name or value that must not be sent.
    HeaderLine,
    /// A text that would be sent but holds what must not be: column.
    Sent(&'static str),
    /// Programs that share so much code that proving them would take too long.
    Entangled,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.section, self.at, self.kind)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("the file is cut short"),
            Self::TrailingBytes => f.write_str("bytes follow the end"),
            Self::Magic => f.write_str("not a Tollgate artifact"),
            Self::Version(found, known) => write!(f, "format {found}, this build reads {known}"),
            Self::Feature => f.write_str("needs a feature that this build does not have"),
            Self::Layout => f.write_str("section out of place"),
            Self::Padding => f.write_str("padding is not zero"),
            Self::Digest => f.write_str("bytes differ from their digest"),
            Self::Missing => f.write_str("section is missing"),
            Self::Width => f.write_str("rows have another width"),
            Self::Text => f.write_str("not a text"),
            Self::Reference(column) => write!(f, "`{column}` points nowhere"),
            Self::Value(column) => write!(f, "`{column}` has no such value"),
            Self::Order(column) => write!(f, "`{column}` is out of order"),
            Self::Hash => f.write_str("the index does not find its own key"),
            Self::Automaton => f.write_str("damaged automaton"),
            Self::Opcode(op) => write!(f, "unknown instruction {op}"),
            Self::Register(register) => write!(f, "no register {register}"),
            Self::Jump => f.write_str("jump does not go forward inside the program"),
            Self::NoVerdict => f.write_str("a path ends without a verdict"),
            Self::Operand(register) => write!(f, "register {register} does not hold what is needed"),
            Self::Entry => f.write_str("instruction is not allowed in this entry"),
            Self::Effects => f.write_str("too many effects"),
            Self::Cost(cost, budget) => write!(f, "costs {cost}, the budget is {budget}"),
            Self::CostMismatch(stated, proven) => write!(f, "states a cost of {stated}, it is {proven}"),
            Self::HeaderLine => f.write_str("header line must not be sent"),
            Self::Sent(column) => write!(f, "`{column}` holds bytes that must not be sent"),
            Self::Entangled => f.write_str("programs share too much code to be proved"),
        }
    }
}

impl core::error::Error for Fault {}
