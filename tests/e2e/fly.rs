//! Sites on the simulated platform: the first run makes everything, later ones only publish, and what
//! goes wrong is explained.

mod changes;
mod described;
mod desk;
mod doctor;
mod domains;
mod failures;
mod first_run;
mod restarts;
mod secrets;
