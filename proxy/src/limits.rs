//! Every bound of the gateway in one place.
