//! Programs that must not run.

use policy::artifact::Limits;
use policy::isa::{Instr, Op};
use policy::table::Table;
use policy::{FaultKind, Policy};

use super::{fault, patched, refused, unsound};
use crate::sample::assembly::Assembly;
use crate::sample::router::Wanted;
use crate::sample::tamper::{self, CODE, set_word};
use crate::sample::{Entries, Scene, estate};

/// The fault of a program whose first instruction is the artifact's first.
fn program(instrs: &[Instr]) -> (u64, FaultKind) {
    let mut scene = Scene::new();
    scene.program("bad", instrs.to_vec());
    let fault = unsound(scene);
    assert_eq!(fault.section, "Code");
    (fault.at, fault.kind)
}

fn instr(op: Op, a: u8, to: u16, imm: u32) -> Instr {
    Instr { op, a, to, imm }
}

const FORWARD: Instr = Instr {
    op: Op::Forward,
    a: 0,
    to: 0,
    imm: 0,
};

#[test]
fn a_jump_goes_forward_inside_the_code() {
    // A jump backward cannot even be written; one to itself can.
    assert_eq!(
        program(&[instr(Op::Jump, 0, 0, 0), FORWARD]),
        (0, FaultKind::Jump)
    );
    assert_eq!(
        program(&[instr(Op::Method, 0, 0, 1), FORWARD]),
        (0, FaultKind::Jump)
    );
}

#[test]
fn a_jump_past_the_end_is_refused() {
    let past = [instr(Op::Method, 0, 2, 1), FORWARD];
    assert_eq!(program(&past), (0, FaultKind::Jump));
    assert_eq!(
        program(&[instr(Op::Jump, 0, u16::MAX, 0), FORWARD]),
        (0, FaultKind::Jump)
    );
}

#[test]
fn every_path_has_a_verdict() {
    let falls_off = [instr(Op::Method, 0, 1, 1)];
    assert_eq!(program(&falls_off), (0, FaultKind::Jump));
    let falls_off = [instr(Op::Constant, 0, Table::Acl as u16, 0)];
    assert_eq!(program(&falls_off), (1, FaultKind::NoVerdict));
    let on_one_path = [instr(Op::Method, 0, 2, 1), FORWARD, instr(Op::Wait, 0, 0, 0)];
    assert_eq!(program(&on_one_path), (3, FaultKind::NoVerdict));
}

#[test]
fn a_register_is_set_on_every_path_before_it_is_read() {
    let never = [instr(Op::Empty, 3, 1, 0), FORWARD];
    assert_eq!(program(&never), (0, FaultKind::Operand(3)));
    let when_absent = Assembly::new()
        .test(Op::Header, 1, 0, "absent")
        .op(Op::Forward, 0, 0)
        .place("absent")
        .test(Op::Empty, 1, 0, "end")
        .place("end")
        .op(Op::Forward, 0, 0)
        .finish();
    assert_eq!(program(&when_absent), (2, FaultKind::Operand(1)));
    let on_one_of_two = Assembly::new()
        .test(Op::Method, 0, 1, "join")
        .constant(1, Table::Acl, 0)
        .place("join")
        .op(Op::Acl, 1, 0)
        .op(Op::Forward, 0, 0)
        .finish();
    assert_eq!(program(&on_one_of_two), (2, FaultKind::Operand(1)));
    let of_two_kinds = Assembly::new()
        .test(Op::Method, 0, 1, "other")
        .constant(1, Table::Acl, 0)
        .test(Op::Jump, 0, 0, "join")
        .place("other")
        .constant(1, Table::Quota, 0)
        .place("join")
        .op(Op::Acl, 1, 0)
        .op(Op::Forward, 0, 0)
        .finish();
    assert_eq!(program(&of_two_kinds), (4, FaultKind::Operand(1)));
}

#[test]
fn an_operand_has_the_kind_that_is_needed() {
    let constant = |table: Table| instr(Op::Constant, 0, table as u16, 0);
    for (op, table) in [
        (Op::Acl, Table::IpRule),
        (Op::Ip, Table::Acl),
        (Op::Take, Table::Budget),
        (Op::Reserve, Table::Quota),
        (Op::Size, Table::Cors),
        (Op::Preflight, Table::Size),
        (Op::Respond, Table::Refusal),
        (Op::Identify, Table::Credential),
    ] {
        let bad = [constant(table), instr(op, 0, 0, 0), FORWARD];
        assert_eq!(program(&bad), (1, FaultKind::Operand(0)), "{}", op.name());
    }
    for op in [Op::Key, Op::Basic] {
        let bad = [constant(Table::Name), instr(op, 1, 1, 0), FORWARD];
        assert_eq!(program(&bad), (1, FaultKind::Operand(0)));
    }
    for op in [Op::Several, Op::Empty, Op::Match] {
        let bad = [constant(Table::Name), instr(op, 0, 1, 0), FORWARD];
        assert_eq!(program(&bad), (1, FaultKind::Operand(0)));
    }
    let other_table = [
        constant(Table::Log),
        instr(Op::Apply, 0, Table::Cors as u16, 0),
        FORWARD,
    ];
    assert_eq!(program(&other_table), (1, FaultKind::Operand(0)));
}

#[test]
fn there_are_sixteen_registers() {
    let set = [instr(Op::Constant, 16, Table::Acl as u16, 0), FORWARD];
    assert_eq!(program(&set), (0, FaultKind::Register(16)));
    let read = [instr(Op::Acl, 255, 0, 0), FORWARD];
    assert_eq!(program(&read), (0, FaultKind::Register(255)));
    for from in [16, 300, u32::MAX] {
        let read = [instr(Op::Key, 0, 1, from), FORWARD];
        let register = u8::try_from(from).unwrap_or(u8::MAX);
        assert_eq!(program(&read), (0, FaultKind::Register(register)));
    }
}

#[test]
fn an_unknown_operation_is_named() {
    let sample = estate().finish();
    for op in [u8::try_from(Op::ALL.len()).expect("few operations"), 255] {
        let mut file = sample.file.clone();
        let code = tamper::section(&file, CODE);
        set_word(&mut file, code.offset + 8 * 3, u32::from(op));
        tamper::seal(&mut file, &code);
        let refused = Policy::load(&file, Limits::default()).expect_err("no such operation");
        assert_eq!(refused, fault("Code", 3, FaultKind::Opcode(op)));
    }
}

#[test]
fn a_row_that_is_named_exists() {
    let one = |op, imm| program(&[instr(op, 0, 1, imm), FORWARD]);
    assert_eq!(one(Op::Refuse, 9999), (0, FaultKind::Reference("Refusal")));
    assert_eq!(one(Op::Select, 9999), (0, FaultKind::Reference("Select")));
    assert_eq!(one(Op::Header, 9999), (0, FaultKind::Reference("Name")));
    assert_eq!(one(Op::Query, u32::MAX), (0, FaultKind::Reference("Name")));
    assert_eq!(one(Op::BodyArgument, 9999), (0, FaultKind::Reference("Name")));
    assert_eq!(one(Op::Match, 9999), (0, FaultKind::Reference("Regex")));
    assert_eq!(one(Op::Anonymous, 9999), (0, FaultKind::Reference("Consumer")));
    assert_eq!(one(Op::Wait, 1), (0, FaultKind::Value("question")));
    let constant = |to, imm| program(&[instr(Op::Constant, 0, to, imm), FORWARD]);
    assert_eq!(
        constant(Table::Acl as u16, 9999),
        (0, FaultKind::Reference("constant"))
    );
    assert_eq!(constant(999, 0), (0, FaultKind::Value("table")));
    let apply = |to| program(&[instr(Op::Apply, 0, to, 0), FORWARD]);
    assert_eq!(apply(999), (0, FaultKind::Value("table")));
    assert_eq!(apply(Table::Secret as u16), (0, FaultKind::Value("apply")));
}

#[test]
fn an_instruction_stands_in_an_entry_that_allows_it() {
    type Place = fn(&mut Entries) -> &mut Vec<Instr>;
    let places: [(Place, &[Op]); 4] = [
        (|e| &mut e.body, &[Op::Reserve, Op::Refuse]),
        (|e| &mut e.response, &[]),
        (|e| &mut e.chunk, &[]),
        (|e| &mut e.end, &[]),
    ];
    let gates = [
        Op::Refuse,
        Op::Respond,
        Op::Wait,
        Op::BodyArgument,
        Op::Key,
        Op::Basic,
        Op::Identify,
        Op::Anonymous,
        Op::Acl,
        Op::Ip,
        Op::Take,
        Op::Reserve,
        Op::Size,
        Op::Preflight,
    ];
    for (place, allowed) in places {
        for op in gates.iter().filter(|op| !allowed.contains(op)) {
            let mut scene = Scene::new();
            let mut entries = Entries::default();
            *place(&mut entries) = vec![instr(*op, 0, 1, 0), FORWARD];
            scene.route("bad", Wanted::default(), &entries);
            assert_eq!(
                unsound(scene),
                fault("Code", 0, FaultKind::Entry),
                "{}",
                op.name()
            );
        }
    }
}

#[test]
fn what_needs_the_body_waits_for_it_on_every_path() {
    assert_eq!(
        program(&[instr(Op::BodyArgument, 0, 1, 0), FORWARD]),
        (0, FaultKind::Entry)
    );
    let on_one_path = Assembly::new()
        .test(Op::Method, 0, 1, "join")
        .op(Op::Wait, 0, 0)
        .place("join")
        .test(Op::BodyArgument, 0, 0, "end")
        .place("end")
        .op(Op::Forward, 0, 0)
        .finish();
    assert_eq!(program(&on_one_path), (2, FaultKind::Entry));
    let budget = Assembly::new()
        .constant(0, Table::Budget, 0)
        .op(Op::Reserve, 0, 0)
        .op(Op::Forward, 0, 0)
        .finish();
    assert_eq!(program(&budget), (1, FaultKind::Entry));
}

#[test]
fn effects_are_counted_along_a_path() {
    let applies = |count: usize, op: fn(Assembly) -> Assembly| {
        let mut program = Assembly::new().constant(0, Table::Size, 0);
        for _ in 0..count {
            program = op(program);
        }
        program.op(Op::Forward, 0, 0).finish()
    };
    let apply = |program: Assembly| program.apply(0, Table::Size);
    let size = |program: Assembly| program.op(Op::Size, 0, 0);
    assert_eq!(program(&applies(33, apply)), (33, FaultKind::Effects));
    assert_eq!(program(&applies(33, size)), (33, FaultKind::Effects));
    let mut scene = Scene::new();
    scene.program("full", applies(32, apply));
    scene.finish();
}

#[test]
fn a_cost_above_the_budget_is_refused_with_both_numbers() {
    let sample = estate().finish();
    let (name, route) = sample
        .routes
        .iter()
        .map(|(name, &route)| (name, route))
        .min_by_key(|(_, route)| {
            let cost = sample.policy.get(*route).cost;
            (cost <= 100, route.number())
        })
        .expect("there are routes");
    let cost = sample.policy.get(route).cost;
    assert!(cost > 100, "{name} does something");
    let limits = Limits {
        program_cost: 100,
        ..Limits::default()
    };
    let refused = Policy::load(&sample.file, limits).expect_err("the budget is too small");
    assert_eq!(
        refused,
        fault("Route", u64::from(route.number()), FaultKind::Cost(cost, 100))
    );
    let search = sample.policy.meta().route_cost;
    let limits = Limits {
        route_cost: search - 1,
        ..Limits::default()
    };
    let refused = Policy::load(&sample.file, limits).expect_err("the budget is too small");
    assert_eq!(refused, fault("Meta", 0, FaultKind::Cost(search, search - 1)));
}

#[test]
fn a_misstated_cost_is_refused_with_both_numbers() {
    let sample = estate().finish();
    let route = sample.routes["api"];
    let cost = sample.policy.get(route).cost;
    let row = route.number();
    let mismatch = fault("Route", u64::from(row), FaultKind::CostMismatch(cost - 1, cost));
    assert_eq!(
        patched(&sample, Table::Route, row, "cost", &[(0, cost - 1)]),
        Some(mismatch)
    );
    let cost = sample.policy.meta().route_cost;
    let mismatch = fault("Meta", 0, FaultKind::CostMismatch(0, cost));
    assert_eq!(refused(Table::Meta, 0, "route_cost", 0), mismatch);
}

#[test]
fn a_select_gives_rows_of_its_own_kind() {
    let mut scene = Scene::new();
    let select = scene.plugins.quota_by_scope.number();
    let bad = [instr(Op::Select, 0, 2, select), instr(Op::Acl, 0, 0, 0), FORWARD];
    scene.program("bad", bad.to_vec());
    assert_eq!(unsound(scene), fault("Code", 1, FaultKind::Operand(0)));
}

/// A file of a few megabytes must not keep the verifier busy for minutes.
#[test]
fn programs_that_overlap_without_end_are_refused() {
    let mut scene = Scene::new();
    let mut long = vec![instr(Op::Method, 0, 1, 1); 3000];
    long.push(FORWARD);
    let first = scene.builder.program(&long);
    for start in 0..3000 {
        let id = scene.route(&format!("r{start}"), Wanted::default(), &Entries::default());
        let row = policy::table::Route {
            on_request: policy::table::Code(Some(first + start)),
            ..policy::table::Route::EMPTY
        };
        scene.builder.set(id, &row);
    }
    let fault = unsound(scene);
    assert_eq!((fault.section, fault.kind), ("Code", FaultKind::Entangled));
}
