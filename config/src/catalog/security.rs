//! Keys of TLS, authorisation, tokens and policies, by name.
//!
//! Facts (names, types, defaults, bounds, update modes) are Apache Kafka 4.3's; the sentences are
//! ours.

use crate::catalog::reason;
use crate::key::{ConfigKey, broker};
use crate::value::Kind::{Boolean, Class, Int, List, Long, Password, String, Unknown};

pub(super) const KEYS: &[ConfigKey] = &[
    broker("allow.everyone.if.no.acl.found", Unknown).accepted(reason::SECURITY),
    broker("alter.config.policy.class.name", Class).low().accepted(reason::JAVA_CLASSES),
    broker("authorizer.class.name", String).default("").non_null().low().accepted(reason::SECURITY),
    broker("config.providers", List)
        .default("")
        .distinct()
        .low()
        .cluster_wide()
        .accepted(reason::JAVA_CLASSES),
    broker("connection.failed.authentication.delay.ms", Int)
        .default("100")
        .at_least(0)
        .low()
        .accepted(reason::SECURITY),
    broker("connections.max.reauth.ms", Long).default("0").accepted(reason::SECURITY),
    broker("create.topic.policy.class.name", Class).low().accepted(reason::JAVA_CLASSES),
    broker("delegation.token.expiry.check.interval.ms", Long)
        .default("3600000")
        .at_least(1)
        .low()
        .accepted(reason::SECURITY),
    broker("delegation.token.expiry.time.ms", Long)
        .default("86400000")
        .at_least(1)
        .accepted(reason::SECURITY),
    broker("delegation.token.max.lifetime.ms", Long)
        .default("604800000")
        .at_least(1)
        .accepted(reason::SECURITY),
    broker("delegation.token.secret.key", Password).accepted(reason::SECURITY),
    broker("principal.builder.class", Class)
        .default("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder")
        .per_broker()
        .accepted(reason::SECURITY),
    broker("security.providers", String).low().accepted(reason::SECURITY),
    broker("ssl.allow.dn.changes", Boolean).default("false").low().accepted(reason::TLS),
    broker("ssl.allow.san.changes", Boolean).default("false").low().accepted(reason::TLS),
    broker("ssl.cipher.suites", List).default("").distinct().per_broker().accepted(reason::TLS),
    broker("ssl.client.auth", String)
        .default("none")
        .one_of(&["required", "requested", "none"])
        .per_broker()
        .accepted(reason::TLS),
    broker("ssl.enabled.protocols", List)
        .default("TLSv1.2,TLSv1.3")
        .distinct()
        .per_broker()
        .accepted(reason::TLS),
    broker("ssl.endpoint.identification.algorithm", String)
        .default("https")
        .low()
        .per_broker()
        .accepted(reason::TLS),
    broker("ssl.engine.factory.class", Class).low().per_broker().accepted(reason::TLS),
    broker("ssl.key.password", Password).per_broker().accepted(reason::TLS),
    broker("ssl.keymanager.algorithm", String)
        .default("SunX509")
        .per_broker()
        .accepted(reason::TLS),
    broker("ssl.keystore.certificate.chain", Password).per_broker().accepted(reason::TLS),
    broker("ssl.keystore.key", Password).per_broker().accepted(reason::TLS),
    broker("ssl.keystore.location", String).per_broker().accepted(reason::TLS),
    broker("ssl.keystore.password", Password).per_broker().accepted(reason::TLS),
    broker("ssl.keystore.type", String).default("JKS").per_broker().accepted(reason::TLS),
    broker("ssl.principal.mapping.rules", String).default("DEFAULT").low().accepted(reason::TLS),
    broker("ssl.protocol", String).default("TLSv1.3").per_broker().accepted(reason::TLS),
    broker("ssl.provider", String).per_broker().accepted(reason::TLS),
    broker("ssl.secure.random.implementation", String).low().per_broker().accepted(reason::TLS),
    broker("ssl.trustmanager.algorithm", String).default("PKIX").per_broker().accepted(reason::TLS),
    broker("ssl.truststore.certificates", Password).per_broker().accepted(reason::TLS),
    broker("ssl.truststore.location", String).per_broker().accepted(reason::TLS),
    broker("ssl.truststore.password", Password).per_broker().accepted(reason::TLS),
    broker("ssl.truststore.type", String).default("JKS").per_broker().accepted(reason::TLS),
    broker("super.users", Unknown).accepted(reason::SECURITY),
];
