//! One row or more of every plugin table.

use policy::artifact::Builder;
use policy::table::{
    Acl, Algorithm, Authority, BodyShape, Budget, Ceiling, Certificate, Cidr, Condition, ConditionKind,
    Correlation, Cors, CountStrategy, Edit, EditList, EditOp, EditPlace, Generator, HashOn, HealthRules,
    HttpVersion, Id, Instance, IpRule, JsonType, Level, LimitBy, Line, Log, Membership, MessageTail, Metrics,
    Model, Origin, OriginTest, ParamPlace, Part, PartKind, Period, PeriodUnit, Probe, ProbeKind, Provider,
    ProxyProtocol, Quota, Refusal, Regex, Response, RouteType, Rows, Rule, Scheme, Secret, SecretKind,
    Select, Service, Size, Sni, Source, Status, Streaming, Subject, Table, Target, Text, Upstream, Verify,
};

use super::{ALICE, BLACK, GOLD, SILVER, bits, router};

/// Ids of what the programs use.
#[derive(Clone, Copy)]
pub(crate) struct Plugins {
    pub(crate) source: Id<Source>,
    pub(crate) service: Id<Service>,
    pub(crate) service_row: Service,
    pub(crate) unauthorized: Id<Refusal>,
    pub(crate) no_key: Id<Refusal>,
    pub(crate) duplicate: Id<Refusal>,
    pub(crate) forbidden: Id<Refusal>,
    pub(crate) limited: Id<Refusal>,
    pub(crate) allow: Id<Acl>,
    pub(crate) deny: Id<Acl>,
    pub(crate) allow_groups: Id<Acl>,
    pub(crate) lenient_ip: Id<IpRule>,
    pub(crate) strict_ip: Id<IpRule>,
    /// For alice, for alpha, for beta, for everybody.
    pub(crate) quotas: [Id<Quota>; 4],
    pub(crate) quota_by_scope: Id<Select>,
    pub(crate) quota_by_group: Id<Select>,
    pub(crate) size: Id<Size>,
    pub(crate) strict_size: Id<Size>,
    pub(crate) edits: Id<EditList>,
    pub(crate) correlation: Id<Correlation>,
    pub(crate) cors: Id<Cors>,
    pub(crate) passing_cors: Id<Cors>,
    pub(crate) metrics: Id<Metrics>,
    pub(crate) log: Id<Log>,
    pub(crate) always: Id<Response>,
    pub(crate) triggered: Id<Response>,
    pub(crate) budget: Id<Budget>,
    pub(crate) model: Id<Model>,
    pub(crate) regex: Id<Regex>,
}

impl Plugins {
    pub(crate) fn write(builder: &mut Builder) -> Self {
        let file = builder.text("kongé.yaml");
        let source = builder.row(&Source {
            file,
            line: 3,
            column: 5,
        });
        let mut refusal = |status, message| refusal(builder, source, status, message);
        let unauthorized = refusal(401, "Unauthorized");
        let no_key = refusal(401, "No API key found in request");
        let duplicate = refusal(401, "Duplicate API key found");
        let forbidden = refusal(403, "You cannot consume this service");
        let address = refusal(403, "IP address not allowed: ");
        let limited = refusal(429, "API rate limit exceeded");
        let too_large = refusal(413, "Request size limit exceeded");
        let expectation = refusal(417, "Request size limit exceeded");
        let length = refusal(411, "A valid Content-Length header is required");
        let service_row = service(builder, source);
        let service = builder.row(&service_row);
        let quotas = [1, 2, 3, 4].map(|limit| quota(builder, source, limited, limit));
        let patterns = ["^b[0-9]+$".to_owned()];
        let regex = router::path_regex(builder, &patterns);
        let acl = |builder: &mut Builder, allow, groups: &[u32], consumer_groups: &[u32]| {
            let row = acl(builder, source, allow, groups, consumer_groups);
            builder.row(&Acl {
                unauthorized,
                forbidden,
                ..row
            })
        };
        Self {
            source,
            service,
            service_row,
            unauthorized,
            no_key,
            duplicate,
            forbidden,
            limited,
            allow: acl(builder, true, &[GOLD, BLACK], &[]),
            deny: acl(builder, false, &[SILVER], &[]),
            allow_groups: acl(builder, true, &[], &[1, 2]),
            lenient_ip: ip(builder, source, address, false),
            strict_ip: ip(builder, source, address, true),
            quotas,
            quota_by_scope: select(builder, &quotas, true),
            quota_by_group: select(builder, &quotas, false),
            size: size(builder, source, false, [too_large, expectation, length]),
            strict_size: size(builder, source, true, [too_large, expectation, length]),
            edits: edits(builder, source),
            correlation: correlation(builder, source),
            cors: cors(builder, source, regex, false),
            passing_cors: cors(builder, source, regex, true),
            metrics: metrics(builder, source),
            log: log(builder, source),
            always: response(builder, source, ""),
            triggered: response(builder, source, "X-Trigger"),
            budget: budget(builder, source, limited),
            model: model(builder, source, service),
            regex,
        }
    }
}

fn refusal(builder: &mut Builder, source: Id<Source>, status: u32, message: &str) -> Id<Refusal> {
    let line = Line {
        name: builder.text("WWW-Authenticate"),
        value: builder.text("Key"),
    };
    let row = Refusal {
        plugin: builder.text("key-auth"),
        source: Some(source),
        status,
        shape: BodyShape::Error,
        message: builder.text(message),
        tail: MessageTail::None,
        headers: builder.list(&[line]),
    };
    builder.row(&row)
}

fn upstream(builder: &mut Builder, source: Id<Source>) -> Id<Upstream> {
    let target = Target {
        host: builder.text("10.0.0.1"),
        port: 8080,
        weight: 100,
        name: builder.text("10.0.0.1:8080"),
    };
    let rules = HealthRules {
        healthy_statuses: builder.list(&[Status { code: 200 }, Status { code: 302 }]),
        successes: 2,
        unhealthy_statuses: builder.list(&[Status { code: 500 }]),
        http_failures: 3,
        tcp_failures: 1,
        timeouts: 255,
    };
    let rules = builder.row(&rules);
    let line = Line {
        name: builder.text("X-Probe"),
        value: builder.text("1"),
    };
    let probe = Probe {
        kind: ProbeKind::Https,
        path: builder.text("/health?deep=1"),
        timeout: 1000,
        concurrency: 10,
        verify: true,
        server_name: builder.text("pool.test"),
        headers: builder.list(&[line]),
        healthy_interval: 5000,
        unhealthy_interval: 500,
        rules,
    };
    let certificate = certificate(builder);
    let row = Upstream {
        id: builder.text("id-of-upstream"),
        name: builder.text("pool"),
        source: Some(source),
        algorithm: Algorithm::ConsistentHashing,
        hash_on: HashOn::Header,
        hash_name: builder.text("X-Tenant"),
        hash_fallback: HashOn::Cookie,
        hash_fallback_name: builder.text("sid"),
        cookie_path: builder.text("/"),
        host_header: builder.text("pool.test"),
        client_certificate: Some(certificate),
        threshold: 25.5,
        passive: Some(rules),
        active: Some(builder.row(&probe)),
        slow_start: 30_000,
        max_requests: 100,
        queue: 50,
        queue_timeout: 5000,
        eject_after: 5,
        eject_for: 30_000,
        eject_most: 10,
        targets: builder.list(&[target]),
    };
    builder.row(&row)
}

fn service(builder: &mut Builder, source: Id<Source>) -> Service {
    let upstream = upstream(builder, source);
    let certificate = certificate(builder);
    let authority = Authority {
        certificate: builder.text("PEM of an authority"),
    };
    Service {
        id: builder.text("id-of-service"),
        name: builder.text("service"),
        source: Some(source),
        scheme: Scheme::Https,
        host: builder.text("pool"),
        port: 443,
        path: builder.text("/base"),
        retries: 5,
        connect_timeout: 60_000,
        write_timeout: 60_000,
        read_timeout: 60_000,
        upstream: Some(upstream),
        verify: Verify::Default,
        verify_depth: u32::MAX,
        authorities: builder.list(&[authority]),
        client_certificate: Some(certificate),
        proxy_protocol: ProxyProtocol::V2,
        http: HttpVersion::Negotiated,
        hedge_after: 250,
        json: builder.text("{}"),
    }
}

fn secret(builder: &mut Builder) -> Id<Secret> {
    let text = builder.text("{vault://env/some-key}");
    builder.row(&Secret {
        kind: SecretKind::Vault,
        text,
    })
}

fn certificate(builder: &mut Builder) -> Id<Certificate> {
    let row = Certificate {
        id: builder.text("id-of-certificate"),
        chain: builder.text("PEM of a chain"),
        key: secret(builder),
    };
    builder.row(&row)
}

pub(super) fn snis(builder: &mut Builder) -> Rows<Sni> {
    let row = Sni {
        name: builder.text("*.tls.test"),
        certificate: Id::new(0),
    };
    builder.list(&[row])
}

fn acl(
    builder: &mut Builder,
    source: Id<Source>,
    allow: bool,
    groups: &[u32],
    consumer_groups: &[u32],
) -> Acl {
    let memberships: Vec<Membership> = consumer_groups
        .iter()
        .map(|&group| Membership {
            group: Id::new(group),
        })
        .collect();
    Acl {
        source: Some(source),
        allow,
        groups: bits(builder, groups),
        consumer_groups: builder.list(&memberships),
        unauthorized: Id::new(0),
        forbidden: Id::new(0),
        hide_groups_header: false,
    }
}

/// A range of addresses.
pub(crate) fn cidr(first: u128, last: u128) -> Cidr {
    let halves = |address: u128| {
        let low = u64::try_from(address & u128::from(u64::MAX)).expect("the low half");
        let high = u64::try_from(address >> 64).expect("the high half");
        (high, low)
    };
    let ((first_high, first_low), (last_high, last_low)) = (halves(first), halves(last));
    Cidr {
        first_high,
        first_low,
        last_high,
        last_low,
    }
}

/// 10.0.0.0/8, 192.168.1.7 and 2001:db8::/32 are denied; a strict rule admits 192.0.2.0/24 alone.
fn ip(builder: &mut Builder, source: Id<Source>, refusal: Id<Refusal>, restricted: bool) -> Id<IpRule> {
    let v4 = |address: u128| 0xffff_0000_0000 | address;
    let deny = [
        cidr(v4(0x0a00_0000), v4(0x0aff_ffff)),
        cidr(v4(0xc0a8_0107), v4(0xc0a8_0107)),
        cidr(0x2001_0db8 << 96, (0x2001_0db9 << 96) - 1),
    ];
    let allow = [cidr(v4(0xc000_0200), v4(0xc000_02ff))];
    let row = IpRule {
        source: Some(source),
        deny: builder.list(&deny),
        restricted,
        allow: if restricted {
            builder.list(&allow)
        } else {
            Rows::NONE
        },
        refusal,
    };
    builder.row(&row)
}

fn quota(builder: &mut Builder, source: Id<Source>, refusal: Id<Refusal>, limit: u64) -> Id<Quota> {
    let periods = [PeriodUnit::Second, PeriodUnit::Hour].map(|unit| Period { unit, limit });
    let row = Quota {
        source: Some(source),
        stable: limit,
        by: LimitBy::Header,
        header: builder.text("x-tenant"),
        path: Text::EMPTY,
        periods: builder.list(&periods),
        hide_headers: false,
        refusal,
    };
    builder.row(&row)
}

/// Alice, then the groups alpha and beta, then everybody where that is wanted.
fn select(builder: &mut Builder, quotas: &[Id<Quota>; 4], everybody: bool) -> Id<Select> {
    let instance = |subject, quota: Id<Quota>| Instance {
        subject,
        row: quota.number(),
    };
    let mut level = |subject, instances: &[Instance]| Level {
        subject,
        instances: builder.list(instances),
    };
    let mut levels = vec![
        level(Subject::Consumer, &[instance(ALICE, quotas[0])]),
        level(Subject::Group, &[instance(0, quotas[1]), instance(1, quotas[2])]),
    ];
    if everybody {
        levels.push(level(Subject::Anyone, &[instance(0, quotas[3])]));
    }
    let row = Select {
        kind: Table::Quota as u32,
        levels: builder.list(&levels),
    };
    builder.row(&row)
}

fn size(builder: &mut Builder, source: Id<Source>, strict: bool, answers: [Id<Refusal>; 3]) -> Id<Size> {
    builder.row(&Size {
        source: Some(source),
        limit: 1024,
        require_length: strict,
        too_large: answers[0],
        expectation_failed: answers[1],
        length_required: answers[2],
    })
}

fn edits(builder: &mut Builder, source: Id<Source>) -> Id<EditList> {
    let mut part = |kind, text| Part {
        kind,
        text: builder.text(text),
        index: 0,
        otherwise: false,
    };
    let value = [
        part(PartKind::Literal, "tenant-"),
        part(PartKind::Header, "x-tenant"),
    ];
    let renamed = [part(PartKind::Literal, "X-Renamed")];
    let edits = [
        Edit {
            op: EditOp::Add,
            place: EditPlace::Header,
            name: builder.text("X-Tenant"),
            value: builder.list(&value),
            json_type: JsonType::String,
        },
        Edit {
            op: EditOp::Rename,
            place: EditPlace::Header,
            name: builder.text("X-Old"),
            value: builder.list(&renamed),
            json_type: JsonType::String,
        },
    ];
    let row = EditList {
        plugin: builder.text("request-transformer"),
        source: Some(source),
        edits: builder.list(&edits),
        needs_body: false,
    };
    builder.row(&row)
}

fn correlation(builder: &mut Builder, source: Id<Source>) -> Id<Correlation> {
    let header = builder.text("Kong-Request-ID");
    builder.row(&Correlation {
        source: Some(source),
        header,
        generator: Generator::Uuid,
        echo: true,
    })
}

fn cors(builder: &mut Builder, source: Id<Source>, regex: Id<Regex>, passing: bool) -> Id<Cors> {
    let origins = [
        Origin {
            test: OriginTest::Exact,
            text: builder.text("https://a.test"),
            regex: None,
        },
        Origin {
            test: OriginTest::Origin,
            text: builder.text("https://.*"),
            regex: Some(regex),
        },
    ];
    let row = Cors {
        source: Some(source),
        origins: builder.list(&origins),
        methods: builder.text("GET,POST"),
        headers: builder.text("X-One,X-Two"),
        exposed: builder.text("X-Three"),
        max_age: builder.text("600"),
        credentials: true,
        preflight_continue: passing,
        private_network: false,
        allow_origin_absent: true,
    };
    builder.row(&row)
}

fn metrics(builder: &mut Builder, source: Id<Source>) -> Id<Metrics> {
    builder.row(&Metrics {
        source: Some(source),
        per_consumer: true,
        status_code: true,
        latency: true,
        bandwidth: false,
        upstream_health: false,
        ai: false,
    })
}

fn log(builder: &mut Builder, source: Id<Source>) -> Id<Log> {
    let path = builder.text("/var/log/access.log");
    builder.row(&Log {
        source: Some(source),
        path,
        reopen: false,
    })
}

fn response(builder: &mut Builder, source: Id<Source>, trigger: &str) -> Id<Response> {
    let row = Response {
        source: Some(source),
        status: 503,
        trigger: builder.text(trigger),
        message: builder.text("So long and thanks for all the fish!"),
        body: Text::EMPTY,
        content_type: builder.text("application/json; charset=utf-8"),
        echo: false,
    };
    builder.row(&row)
}

fn budget(builder: &mut Builder, source: Id<Source>, refusal: Id<Refusal>) -> Id<Budget> {
    let condition = Condition {
        kind: ConditionKind::Model,
        key: Text::EMPTY,
        values: builder.names(["gpt-4o"]),
        partition: true,
    };
    let ceiling = Ceiling {
        limit: 1000,
        window: 60,
        strategy: CountStrategy::TotalTokens,
    };
    let rule = Rule {
        name: builder.text("openai"),
        conditions: builder.list(&[condition]),
        ceilings: builder.list(&[ceiling]),
        sliding: true,
    };
    let row = Budget {
        source: Some(source),
        stable: 11,
        rules: builder.list(&[rule]),
        by: LimitBy::Consumer,
        header: Text::EMPTY,
        path: Text::EMPTY,
        policies: false,
        hide_headers: false,
        hide_providers: false,
        jitter: 0,
        refusal,
    };
    builder.row(&row)
}

fn model(builder: &mut Builder, source: Id<Source>, service: Id<Service>) -> Id<Model> {
    let row = Model {
        id: builder.text("id-of-model"),
        source: Some(source),
        provider: Provider::OpenAi,
        route_type: RouteType::Chat,
        name: builder.text("gpt-4o"),
        name_parts: Rows::NONE,
        service,
        path: Text::EMPTY,
        auth_header: builder.text("Authorization"),
        auth_value: Some(secret(builder)),
        param_name: Text::EMPTY,
        param_value: None,
        param_place: ParamPlace::Query,
        allow_override: false,
        has_temperature: true,
        temperature: 0.5,
        max_tokens: 100,
        has_top_p: false,
        top_p: 0.0,
        top_k: 0,
        input_cost: 2.5,
        output_cost: 10.0,
        streaming: Streaming::Allow,
        max_body: 8192,
        model_header: true,
        log_statistics: true,
        log_payloads: false,
        authorities: Rows::NONE,
    };
    builder.row(&row)
}
