//! Tables of configured plugins, and the scope tables that choose among them.

use super::{Authority, Id, Regex, Rows, Secret, Service, Source, Text, Word, choice, rows};

choice! {
    /// What one level of a scope table looks at.
    Subject {
        /// The consumer.
        Consumer = "consumer",
        /// The consumer's groups, in the order of their names.
        Group = "consumer_group",
        /// Nobody: the level always applies.
        Anyone = "anyone",
    }
    /// How the body of a refusal is written.
    BodyShape {
        /// Kong's `error` shape: negotiated by `Accept`, with a request id.
        Error = "error",
        /// Kong's `exit` shape: `{"message":"…"}`.
        Exit = "exit",
        /// `{"error":{"message":"…"}}`, as the AI plugins answer.
        AiError = "ai-error",
    }
    /// What a refusal's message says beyond its text.
    MessageTail {
        /// Nothing.
        None = "none",
        /// The client's address.
        ClientAddress = "client-address",
    }
    /// Whose counter a request falls on (Kong `limit_by`, `identifier`).
    LimitBy {
        /// The consumer, else the credential, else the client address.
        Consumer = "consumer",
        /// The credential, else the client address.
        Credential = "credential",
        /// The client address.
        Ip = "ip",
        /// The service.
        Service = "service",
        /// The value of a header, else the client address.
        Header = "header",
        /// One counter for one path; other paths fall on the client address.
        Path = "path",
        /// The consumer's first group, else the client address.
        ConsumerGroup = "consumer-group",
    }
    /// A calendar window, aligned to UTC.
    PeriodUnit {
        /// A second.
        Second = "second",
        /// A minute.
        Minute = "minute",
        /// An hour.
        Hour = "hour",
        /// A day.
        Day = "day",
        /// A calendar month.
        Month = "month",
        /// A calendar year.
        Year = "year",
    }
    /// How a correlation id is made.
    Generator {
        /// A UUID for each request.
        Uuid = "uuid",
        /// One UUID for each worker, and a counter.
        UuidCounter = "uuid#counter",
        /// Address, port, process and connection numbers, and a time.
        Tracker = "tracker",
    }
    /// What an edit does.
    EditOp {
        /// Takes the name away.
        Remove = "remove",
        /// Gives the value another name.
        Rename = "rename",
        /// Sets the value where the name is present.
        Replace = "replace",
        /// Sets the value where the name is absent.
        Add = "add",
        /// Adds a value to those that are there.
        Append = "append",
        /// Sets the value.
        Set = "set",
    }
    /// What an edit is applied to.
    EditPlace {
        /// A header field.
        Header = "header",
        /// A query argument.
        Query = "querystring",
        /// A top-level member of the body.
        Body = "body",
        /// The whole upstream path.
        Uri = "uri",
        /// The method.
        Method = "method",
    }
    /// How a body value is written.
    JsonType {
        /// As a string.
        String = "string",
        /// As a number.
        Number = "number",
        /// As a boolean.
        Boolean = "boolean",
    }
    /// A piece of a value template.
    PartKind {
        /// The text itself.
        Literal = "literal",
        /// A request header.
        Header = "headers",
        /// A query argument.
        Query = "query_params",
        /// A named capture of the route's regex.
        Capture = "uri_captures",
        /// A numbered capture of the route's regex.
        CaptureIndex = "uri_captures[]",
    }
    /// How an `origins` entry of cors is compared.
    OriginTest {
        /// Equal to the whole origin.
        Exact = "exact",
        /// A regex over the whole origin.
        Origin = "origin-regex",
        /// A regex over the host alone.
        Host = "host-regex",
        /// Every origin.
        Any = "any",
    }
    /// Who serves a model.
    Provider {
        /// OpenAI.
        OpenAi = "openai",
        /// A Llama 2 server that speaks OpenAI's API.
        Llama2 = "llama2",
        /// Mistral.
        Mistral = "mistral",
        /// Ollama's OpenAI API.
        Ollama = "ollama",
        /// vLLM.
        Vllm = "vllm",
        /// DeepSeek.
        DeepSeek = "deepseek",
        /// xAI.
        Xai = "xai",
        /// Cerebras.
        Cerebras = "cerebras",
    }
    /// What a model route answers.
    RouteType {
        /// Chat completions.
        Chat = "llm/v1/chat",
        /// Legacy completions.
        Completions = "llm/v1/completions",
        /// Embeddings.
        Embeddings = "llm/v1/embeddings",
    }
    /// Whether clients may stream.
    Streaming {
        /// If they ask.
        Allow = "allow",
        /// Whether they ask or not.
        Always = "always",
        /// Never.
        Deny = "deny",
    }
    /// Where a provider's parameter goes.
    ParamPlace {
        /// In the query.
        Query = "query",
        /// In the body.
        Body = "body",
    }
    /// What of a call is counted.
    CountStrategy {
        /// Prompt and completion.
        TotalTokens = "total_tokens",
        /// The prompt.
        PromptTokens = "prompt_tokens",
        /// The completion.
        CompletionTokens = "completion_tokens",
        /// Money, by the model's costs.
        Cost = "cost",
    }
    /// What a condition of a budget rule looks at.
    ConditionKind {
        /// The consumer.
        Consumer = "consumer",
        /// The consumer's groups.
        ConsumerGroup = "consumer_group",
        /// A request header.
        Header = "header",
        /// The client address.
        Ip = "ip",
        /// The model that is called.
        Model = "model",
        /// The request path.
        Path = "path",
        /// The provider.
        Provider = "provider",
    }
}

rows! {
    /// The instances of one plugin on one route and service, most specific first.
    Select {
        /// The table that holds the instances.
        kind: u32,
        /// Levels in Kong's order of precedence.
        levels: Rows<Level>,
    }
    /// One level of precedence.
    Level {
        /// What it looks at.
        subject: Subject,
        /// Its instances, ordered by subject.
        instances: Rows<Instance>,
    }
    /// An instance for a subject.
    Instance {
        /// Row of the consumer or group; 0 for anyone.
        subject: u32,
        /// Row in the table of [`Select::kind`].
        row: u32,
    }
    /// An answer that ends a request.
    Refusal {
        /// The plugin that refuses.
        plugin: Text,
        /// Where the plugin stands in the source.
        source: Option<Id<Source>>,
        /// HTTP status.
        status: u32,
        /// How the body is written.
        shape: BodyShape,
        /// The message; empty takes the status' default.
        message: Text,
        /// What follows the message.
        tail: MessageTail,
        /// Further header lines.
        headers: Rows<Line>,
    }
    /// A header line.
    Line {
        /// Field name.
        name: Text,
        /// Field value.
        value: Text,
    }
    /// An answer that an operator wrote (request-termination).
    Response {
        /// Where the plugin stands in the source.
        source: Option<Id<Source>>,
        /// HTTP status.
        status: u32,
        /// Name of a header or query argument that must be present; empty for always.
        trigger: Text,
        /// `message`; an empty one gives an empty body unless `body` is set.
        message: Text,
        /// `body`, sent as it is.
        body: Text,
        /// Media type of the body.
        content_type: Text,
        /// Whether the request is told back.
        echo: bool,
    }
    /// An acl plugin.
    Acl {
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// Whether the groups are allowed; else they are denied.
        allow: bool,
        /// The groups: a bit set over the artifact's ACL groups.
        groups: Rows<Word>,
        /// Consumer groups that count like ACL groups (`include_consumer_groups`).
        consumer_groups: Rows<super::Membership>,
        /// 401 for callers without identity.
        unauthorized: Id<Refusal>,
        /// 403 for the others.
        forbidden: Id<Refusal>,
        /// Whether `X-Consumer-Groups` is kept from the upstream.
        hide_groups_header: bool,
    }
    /// A range of addresses. Ranges of one list are ordered and do not touch.
    Cidr {
        /// Bits 127..64 of the first address (IPv4 as `::ffff:a.b.c.d`).
        first_high: u64,
        /// Bits 63..0 of the first address.
        first_low: u64,
        /// Bits 127..64 of the last address.
        last_high: u64,
        /// Bits 63..0 of the last address.
        last_low: u64,
    }
    /// An ip-restriction plugin.
    IpRule {
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// Refused addresses.
        deny: Rows<Cidr>,
        /// Whether only `allow` passes.
        restricted: bool,
        /// Admitted addresses.
        allow: Rows<Cidr>,
        /// The answer.
        refusal: Id<Refusal>,
    }
    /// A rate-limiting plugin.
    Quota {
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// Stable hash of the plugin's scope: counters carry over reloads by it.
        stable: u64,
        /// Whose counter.
        by: LimitBy,
        /// Lower-case header for [`LimitBy::Header`].
        header: Text,
        /// Path for [`LimitBy::Path`].
        path: Text,
        /// The limits, shortest period first.
        periods: Rows<Period>,
        /// Whether clients are kept from the headers.
        hide_headers: bool,
        /// The answer.
        refusal: Id<Refusal>,
    }
    /// A limit for a calendar period.
    Period {
        /// The period.
        unit: PeriodUnit,
        /// Requests.
        limit: u64,
    }
    /// A request-size-limiting plugin.
    Size {
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// Bytes.
        limit: u64,
        /// Whether a length must be declared.
        require_length: bool,
        /// 413.
        too_large: Id<Refusal>,
        /// 417, for clients that asked first.
        expectation_failed: Id<Refusal>,
        /// 411.
        length_required: Id<Refusal>,
    }
    /// A correlation-id plugin.
    Correlation {
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// Header name as written.
        header: Text,
        /// How the id is made.
        generator: Generator,
        /// Whether the client gets it.
        echo: bool,
    }
    /// Edits that belong together, in the order in which they are applied.
    EditList {
        /// The plugin they come from.
        plugin: Text,
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// The edits.
        edits: Rows<Edit>,
        /// Whether the whole body is needed.
        needs_body: bool,
    }
    /// One edit.
    Edit {
        /// What is done.
        op: EditOp,
        /// To what.
        place: EditPlace,
        /// Name as written.
        name: Text,
        /// New name, or the value in pieces.
        value: Rows<Part>,
        /// How a body value is written.
        json_type: JsonType,
    }
    /// A piece of a value.
    Part {
        /// What it is.
        kind: PartKind,
        /// Literal text, or the name to look up.
        text: Text,
        /// Number to look up.
        index: u32,
        /// Whether it is used only if the piece before gave nothing (`or`).
        otherwise: bool,
    }
    /// A cors plugin.
    Cors {
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// `origins`; empty means every origin.
        origins: Rows<Origin>,
        /// `methods` joined by `,`.
        methods: Text,
        /// `headers` joined by `,`; empty echoes what was asked for.
        headers: Text,
        /// `exposed_headers` joined by `,`.
        exposed: Text,
        /// `max_age` in seconds, as text; empty for none.
        max_age: Text,
        /// `credentials`.
        credentials: bool,
        /// `preflight_continue`.
        preflight_continue: bool,
        /// `private_network`.
        private_network: bool,
        /// `allow_origin_absent`.
        allow_origin_absent: bool,
    }
    /// One of `origins`.
    Origin {
        /// How it is compared.
        test: OriginTest,
        /// The origin as written.
        text: Text,
        /// Its regex.
        regex: Option<Id<Regex>>,
    }
    /// A prometheus plugin: which groups of metrics a request is counted in.
    Metrics {
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// `per_consumer`.
        per_consumer: bool,
        /// `status_code_metrics`.
        status_code: bool,
        /// `latency_metrics`.
        latency: bool,
        /// `bandwidth_metrics`.
        bandwidth: bool,
        /// `upstream_health_metrics`.
        upstream_health: bool,
        /// `ai_metrics`.
        ai: bool,
    }
    /// A file-log plugin.
    Log {
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// File to append to.
        path: Text,
        /// Whether it is opened anew for every line.
        reopen: bool,
    }
    /// An ai-proxy plugin.
    Model {
        /// Plugin id, for the log.
        id: Text,
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// Who serves it.
        provider: Provider,
        /// What is answered.
        route_type: RouteType,
        /// `model.name`, with `$(…)`; empty takes the request's.
        name: Text,
        /// The pieces of a name with `$(…)`; none for one without.
        name_parts: Rows<Part>,
        /// Where calls go: scheme, host, port, path and timeouts.
        service: Id<Service>,
        /// Whether the service's path replaces the request's (`upstream_url`, `upstream_path` or the provider's own).
        path: Text,
        /// `auth.header_name`.
        auth_header: Text,
        /// `auth.header_value`.
        auth_value: Option<Id<Secret>>,
        /// `auth.param_name`.
        param_name: Text,
        /// `auth.param_value`.
        param_value: Option<Id<Secret>>,
        /// `auth.param_location`.
        param_place: ParamPlace,
        /// `auth.allow_override`.
        allow_override: bool,
        /// Whether `temperature` is set.
        has_temperature: bool,
        /// `temperature`.
        temperature: f64,
        /// `max_tokens`; 0 for none.
        max_tokens: u64,
        /// Whether `top_p` is set.
        has_top_p: bool,
        /// `top_p`.
        top_p: f64,
        /// `top_k` plus one; 0 for none.
        top_k: u32,
        /// Micro-units of money for a million input tokens.
        input_cost: f64,
        /// Micro-units of money for a million output tokens.
        output_cost: f64,
        /// `response_streaming`.
        streaming: Streaming,
        /// `max_request_body_size` in bytes; 0 for no limit of its own.
        max_body: u32,
        /// `model_name_header`.
        model_header: bool,
        /// `logging.log_statistics`.
        log_statistics: bool,
        /// `logging.log_payloads`.
        log_payloads: bool,
        /// Authorities for verifying the provider instead of the system's.
        authorities: Rows<Authority>,
    }
    /// An ai-rate-limiting-advanced plugin.
    Budget {
        /// Where it stands in the source.
        source: Option<Id<Source>>,
        /// Stable hash of the plugin's scope.
        stable: u64,
        /// The rules in order.
        rules: Rows<Rule>,
        /// `identifier`, for the provider mode.
        by: LimitBy,
        /// Lower-case header for [`LimitBy::Header`].
        header: Text,
        /// Path for [`LimitBy::Path`].
        path: Text,
        /// Whether the rules are `policies`; else they are `llm_providers`.
        policies: bool,
        /// `hide_client_headers`.
        hide_headers: bool,
        /// `error_hide_providers`.
        hide_providers: bool,
        /// `retry_after_jitter_max` in seconds.
        jitter: u32,
        /// The answer; its message ends before the providers' names.
        refusal: Id<Refusal>,
    }
    /// One of `policies`, or one of `llm_providers`.
    Rule {
        /// Name in headers: the provider, or the policy.
        name: Text,
        /// What must all hold; a rule of `policies` without conditions applies when no other did.
        conditions: Rows<Condition>,
        /// The limits.
        ceilings: Rows<Ceiling>,
        /// Whether the windows slide; else they are fixed.
        sliding: bool,
    }
    /// One of `match`.
    Condition {
        /// What it looks at.
        kind: ConditionKind,
        /// `key`: header name (lower case), or the consumer's or group's field.
        key: Text,
        /// `values`; empty means any.
        values: Rows<super::Name>,
        /// Whether each value has its own counter.
        partition: bool,
    }
    /// A limit over a window.
    Ceiling {
        /// Tokens, or micro-units of money.
        limit: u64,
        /// Window in seconds.
        window: u32,
        /// What is counted.
        strategy: CountStrategy,
    }
}
