//! The instructions: eight bytes each, sixteen registers, jumps that only go forward.
//!
//! A test falls through when it holds and jumps when it does not. A *gate* falls through when the request may
//! pass and otherwise ends the program with the refusal that its row names.

use crate::table::Table;

/// Registers of a program.
pub const REGISTERS: usize = 16;

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instr {
    /// What it does.
    pub op: Op,
    /// Register that it sets or reads.
    pub a: u8,
    /// Instructions to go forward when a test fails; the table for [`Op::Constant`] and [`Op::Apply`].
    pub to: u16,
    /// Row, register, mask or question.
    pub imm: u32,
}

impl Instr {
    /// The two words of the instruction.
    pub const fn words(self) -> [u32; 2] {
        [
            self.op as u32 | (self.a as u32) << 8 | (self.to as u32) << 16,
            self.imm,
        ]
    }

    /// Reads two words; `None` for an unknown opcode.
    pub fn from_words(words: [u32; 2]) -> Option<Self> {
        let [op, a, low, high] = words[0].to_le_bytes();
        let op = *Op::ALL.get(usize::from(op))?;
        Some(Self {
            op,
            a,
            to: u16::from_le_bytes([low, high]),
            imm: words[1],
        })
    }
}

/// A phase in which a program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The request head is known.
    Request,
    /// The whole request body is known.
    Body,
    /// The response head is known, or a refusal was made.
    Response,
    /// A piece of the response body.
    Chunk,
    /// The exchange is over.
    End,
}

impl Entry {
    /// Every entry in the order of an exchange.
    pub const ALL: [Self; 5] = [Self::Request, Self::Body, Self::Response, Self::Chunk, Self::End];
    /// Name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Body => "body",
            Self::Response => "response",
            Self::Chunk => "chunk",
            Self::End => "end",
        }
    }
}

macro_rules! ops {
    ($( $(#[$meta:meta])* $op:ident = $name:literal, $cost:literal; )*) => {
        /// Operation codes. The discriminant is the stored byte.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Op { $( $(#[$meta])* $op, )* }

        impl Op {
            /// Every operation in the order of its stored byte.
            pub const ALL: &'static [Self] = &[ $( Self::$op, )* ];
            /// Name in listings.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$op => $name, )* }
            }
            /// Worst case in cost units (about a nanosecond each) without what its table adds.
            pub const fn cost(self) -> u32 {
                match self { $( Self::$op => $cost, )* }
            }
        }
    };
}

ops! {
    /// Ends: the request, response or piece goes on.
    Forward = "forward", 1;
    /// Ends with refusal `imm`.
    Refuse = "refuse", 5;
    /// Ends with the response in `a`, if its trigger is present.
    Respond = "respond", 2300;
    /// Suspends with question `imm`; goes on after it when resumed.
    Wait = "wait", 5;
    /// Goes forward by `to`.
    Jump = "jump", 1;
    /// `a` = row `imm` of table `to`.
    Constant = "constant", 1;
    /// `a` = the instance that select `imm` finds; jumps when there is none.
    Select = "select", 10;
    /// `a` = request header named `imm`; jumps when absent.
    Header = "header", 300;
    /// `a` = query argument named `imm`; jumps when absent.
    Query = "query", 2000;
    /// `a` = body argument named `imm`; jumps when absent. Needs an answered wait for the body.
    BodyArgument = "body_argument", 8000;
    /// Tests that `a` was found several times.
    Several = "several", 1;
    /// Tests that `a` is empty.
    Empty = "empty", 1;
    /// Tests that the method is in mask `imm`.
    Method = "method", 1;
    /// Tests that header value `a` matches regex `imm`.
    Match = "match", 8200;
    /// `a` = credential whose key is the text in register `imm`; jumps when unknown.
    Key = "key", 1700;
    /// `a` = credential that the basic-auth value in register `imm` proves; jumps when none.
    Basic = "basic", 14000;
    /// The credential in `a` and its consumer are the caller's.
    Identify = "identify", 10;
    /// Consumer `imm` is the caller's, anonymously.
    Anonymous = "anonymous", 5;
    /// Tests that a credential was found.
    Authenticated = "authenticated", 1;
    /// Gate: acl in `a`.
    Acl = "acl", 40;
    /// Gate: ip-restriction in `a`.
    Ip = "ip", 60;
    /// Gate: one request of the quota in `a`.
    Take = "take", 500;
    /// Gate: the call's tokens of the budget in `a`.
    Reserve = "reserve", 2000;
    /// Gate: declared body size against `a`; bodies of unknown length are bounded while they are read.
    Size = "size", 10;
    /// Ends with a preflight answer when the request is a preflight of the cors in `a`.
    Preflight = "preflight", 650;
    /// The exchange will apply the row in `a`, which is of table `to`.
    Apply = "apply", 3;
}

impl Op {
    /// The table whose row register `a` must hold, for the operations that need one.
    pub const fn operand(self) -> Option<Table> {
        Some(match self {
            Self::Respond => Table::Response,
            Self::Acl => Table::Acl,
            Self::Ip => Table::IpRule,
            Self::Take => Table::Quota,
            Self::Reserve => Table::Budget,
            Self::Size => Table::Size,
            Self::Preflight => Table::Cors,
            _ => return None,
        })
    }

    /// Whether it jumps by `to`.
    pub const fn jumps(self) -> bool {
        matches!(
            self,
            Self::Jump
                | Self::Select
                | Self::Header
                | Self::Query
                | Self::BodyArgument
                | Self::Several
                | Self::Empty
                | Self::Method
                | Self::Match
                | Self::Key
                | Self::Basic
                | Self::Authenticated
        )
    }

    /// Whether no instruction follows it on a path.
    pub const fn ends(self) -> bool {
        matches!(self, Self::Forward | Self::Refuse)
    }

    /// Whether it may stand in an entry. Requests are judged by their head, budgets once the body is known;
    /// later entries only choose what to apply.
    pub const fn allowed(self, entry: Entry) -> bool {
        match self {
            Self::Forward | Self::Jump | Self::Constant | Self::Select | Self::Apply | Self::Method => true,
            Self::Header | Self::Query | Self::Several | Self::Empty | Self::Match | Self::Authenticated => {
                true
            }
            Self::Reserve | Self::Refuse => matches!(entry, Entry::Request | Entry::Body),
            _ => matches!(entry, Entry::Request),
        }
    }
}

/// The tables whose rows an exchange can apply.
pub const APPLICABLE: [Table; 9] = [
    Table::Acl,
    Table::Size,
    Table::Correlation,
    Table::EditList,
    Table::Cors,
    Table::Metrics,
    Table::Log,
    Table::Model,
    Table::Quota,
];
