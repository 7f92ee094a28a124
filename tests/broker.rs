//! The broker as a process, driven by librdkafka and by raw sockets: what its clients and whoever
//! runs it can rely on.
//!
//! Every test has a process and a directory of its own; ports come from the system. Nothing waits a
//! fixed time for something to happen.

mod broker {
    mod client;
    mod process;
    mod relay;
    mod remoting;
    mod topics;
    mod wire;

    mod across;
    mod admin;
    mod cold;
    mod configs;
    mod crash;
    mod damage;
    mod delay;
    mod disk_full;
    mod fetch_sessions;
    mod flush;
    mod groups;
    mod hostile;
    mod index_damage;
    mod messages;
    mod produce;
    mod request_memory;
    mod retention;
    mod rocketmq;
    mod rocketmq_admin;
    mod rocketmq_fleet;
    mod rocketmq_groups;
    mod rocketmq_hostile;
    mod rocketmq_query;
    mod rocketmq_tools;
    mod rocketmq_topics;
    mod start;
    mod tail;
    mod timers;
    mod top;
}
