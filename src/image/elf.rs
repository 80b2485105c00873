//! Whether bytes are a program that runs in an image which holds nothing else: an ELF executable for
//! Linux on x86-64 that asks for no loader and no library.
//!
//! Reads the headers alone and never panics, whatever the bytes are. It proves no more than that: a
//! program that crashes at its start passes.

use object::{
    LittleEndian,
    elf::{
        DT_NEEDED, EM_386, EM_AARCH64, EM_ARM, EM_RISCV, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64,
        Machine, PT_DYNAMIC, PT_INTERP, PT_LOAD, ProgramHeader64,
    },
    read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _},
};

/// Where the ELF identification says how wide addresses are, in which order bytes stand, and for
/// which system the program is.
const CLASS_AT: usize = 4;
const ORDER_AT: usize = 5;
const SYSTEM_AT: usize = 7;

/// Systems whose programs Linux runs: none named, which is the usual, and Linux itself.
const SYSTEMS: [u8; 2] = [0, 3];

/// What is wrong with a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProgramFault {
    /// It is something else.
    #[error("it is {0}, not a Linux program")]
    NotElf(&'static str),
    /// It is for another processor.
    #[error("it is built for {0}, not for x86-64")]
    OtherProcessor(&'static str),
    /// It is for another system.
    #[error("it is built for another system than Linux (ELF system {0})")]
    OtherSystem(u8),
    /// It is a part of a program.
    #[error("it is an object file, a library or a core dump, not a program")]
    NotExecutable,
    /// It needs files that the image does not hold.
    #[error("it is linked dynamically, and the image holds no {0}")]
    Dynamic(String),
    /// It ends early, or its headers contradict each other.
    #[error("it is cut short or broken: {0}")]
    Broken(&'static str),
}

/// Checks that `program` is a static executable for Linux on x86-64; one that can be loaded at any
/// address (`static-pie`) is fine.
pub(super) fn check(program: &[u8]) -> Result<(), ProgramFault> {
    identify(program)?;
    let header = FileHeader64::<LittleEndian>::parse(program)
        .map_err(|_| ProgramFault::Broken("the file header is incomplete"))?;
    match header.e_machine(LittleEndian) {
        EM_X86_64 => {}
        other => return Err(ProgramFault::OtherProcessor(processor(other))),
    }
    let is_program = matches!(header.e_type(LittleEndian), ET_EXEC | ET_DYN);
    if !is_program || header.e_entry(LittleEndian) == 0 {
        return Err(ProgramFault::NotExecutable);
    }
    let segments = header
        .program_headers(LittleEndian, program)
        .map_err(|_| ProgramFault::Broken("the program headers are incomplete"))?;
    if !segments
        .iter()
        .any(|segment| segment.p_type(LittleEndian) == PT_LOAD)
    {
        return Err(ProgramFault::Broken("nothing of it would be loaded"));
    }
    // What is asked for first is told first: the loader, without which no library is looked for.
    for segment in segments {
        no_loader(segment, program)?;
    }
    segments
        .iter()
        .try_for_each(|segment| whole_and_alone(segment, program))
}

/// Tells what is no ELF file for little-endian 64-bit machines by its first bytes.
fn identify(program: &[u8]) -> Result<(), ProgramFault> {
    let starts = |magic: &[u8]| program.starts_with(magic);
    if program.is_empty() {
        return Err(ProgramFault::NotElf("an empty file"));
    }
    if !starts(b"\x7fELF") {
        let is_mach = [
            &b"\xcf\xfa\xed\xfe"[..],
            b"\xce\xfa\xed\xfe",
            b"\xca\xfe\xba\xbe",
        ];
        return Err(ProgramFault::NotElf(if is_mach.iter().any(|m| starts(m)) {
            "a macOS program"
        } else if starts(b"MZ") {
            "a Windows program"
        } else if starts(b"#!") {
            "a script"
        } else {
            "some other file"
        }));
    }
    match (program.get(CLASS_AT), program.get(ORDER_AT)) {
        (Some(1), _) => return Err(ProgramFault::OtherProcessor("a 32-bit processor")),
        (Some(2), Some(2)) => {
            return Err(ProgramFault::OtherProcessor("a big-endian processor"));
        }
        _ => {}
    }
    match program.get(SYSTEM_AT) {
        Some(system) if !SYSTEMS.contains(system) => Err(ProgramFault::OtherSystem(*system)),
        _ => Ok(()),
    }
}

const fn processor(machine: Machine) -> &'static str {
    match machine {
        EM_AARCH64 => "aarch64 (ARM, 64 bits)",
        EM_ARM => "ARM, 32 bits",
        EM_386 => "x86, 32 bits",
        EM_RISCV => "RISC-V",
        _ => "another processor",
    }
}

fn no_loader(segment: &ProgramHeader64<LittleEndian>, program: &[u8]) -> Result<(), ProgramFault> {
    if segment.p_type(LittleEndian) != PT_INTERP {
        return Ok(());
    }
    let name = segment.interpreter(LittleEndian, program).ok().flatten();
    let name = name.map_or_else(
        || "loader".into(),
        |name| String::from_utf8_lossy(name).escape_debug().to_string(),
    );
    Err(ProgramFault::Dynamic(name))
}

fn whole_and_alone(
    segment: &ProgramHeader64<LittleEndian>,
    program: &[u8],
) -> Result<(), ProgramFault> {
    match segment.p_type(LittleEndian) {
        PT_LOAD => segment
            .data(LittleEndian, program)
            .map(|_| ())
            .map_err(|()| ProgramFault::Broken("a part that would be loaded is missing")),
        PT_DYNAMIC => {
            let entries = segment
                .dynamic(LittleEndian, program)
                .map_err(|_| ProgramFault::Broken("the dynamic section is missing"))?;
            let needs = |tag| tag == DT_NEEDED;
            let needs_any = entries
                .unwrap_or_default()
                .iter()
                .any(|entry| needs(entry.d_tag(LittleEndian)));
            if needs_any {
                Err(ProgramFault::Dynamic("shared libraries".into()))
            } else {
                Ok(())
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER_BYTES: usize = 64;
    const SEGMENT_BYTES: usize = 56;

    /// A part of a made-up program.
    #[derive(Debug, Clone)]
    struct Segment {
        kind: u32,
        content: Vec<u8>,
    }

    fn segment(kind: u32, content: &[u8]) -> Segment {
        Segment {
            kind,
            content: content.to_vec(),
        }
    }

    /// Returns an ELF file for x86-64 with these parts, as a linker lays it out.
    fn program_of(segments: &[Segment]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\x00".to_vec();
        file.resize(16, 0);
        file.extend(3_u16.to_le_bytes()); // type: position-independent
        file.extend(62_u16.to_le_bytes()); // machine: x86-64
        file.extend(1_u32.to_le_bytes());
        file.extend(0x1000_u64.to_le_bytes()); // entry
        file.extend((HEADER_BYTES as u64).to_le_bytes());
        file.extend(0_u64.to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        file.extend(u16::try_from(HEADER_BYTES).unwrap().to_le_bytes());
        file.extend(u16::try_from(SEGMENT_BYTES).unwrap().to_le_bytes());
        file.extend(u16::try_from(segments.len()).unwrap().to_le_bytes());
        file.extend([0; 6]);
        let mut at = (HEADER_BYTES + SEGMENT_BYTES * segments.len()) as u64;
        for segment in segments {
            let size = segment.content.len() as u64;
            file.extend(segment.kind.to_le_bytes());
            file.extend(5_u32.to_le_bytes());
            for word in [at, 0x1000, 0x1000, size, size, 8] {
                file.extend(word.to_le_bytes());
            }
            at += size;
        }
        for segment in segments {
            file.extend(&segment.content);
        }
        file
    }

    fn entry(tag: u64, value: u64) -> Vec<u8> {
        [tag.to_le_bytes(), value.to_le_bytes()].concat()
    }

    /// Returns a file that passes; a processor would not get far with it.
    pub(crate) fn static_program() -> Vec<u8> {
        let flags_and_end = [entry(0x6fff_fffb, 0x0800_0000), entry(0, 0)].concat();
        program_of(&[segment(1, b"code"), segment(2, &flags_and_end)])
    }

    /// Returns a file as `cargo build` makes it without further flags.
    pub(crate) fn dynamic_program() -> Vec<u8> {
        let needed = [entry(1, 10), entry(0, 0)].concat();
        program_of(&[
            segment(3, b"/lib64/ld-linux-x86-64.so.2\0"),
            segment(1, b"code"),
            segment(2, &needed),
        ])
    }

    fn with_byte(at: usize, byte: u8) -> Vec<u8> {
        let mut program = static_program();
        program[at] = byte;
        program
    }

    #[test]
    fn static_programs_pass() {
        assert_eq!(check(&static_program()), Ok(()));
        // At a fixed address, and without a dynamic section.
        let mut fixed = program_of(&[segment(1, b"code")]);
        fixed[16] = 2;
        assert_eq!(check(&fixed), Ok(()));
        // Made by a linker that names the system.
        assert_eq!(check(&with_byte(SYSTEM_AT, 3)), Ok(()));
    }

    #[test]
    fn dynamic_programs_are_told_with_what_they_need() {
        let loader = check(&dynamic_program()).unwrap_err();
        assert_eq!(
            loader.to_string(),
            "it is linked dynamically, and the image holds no /lib64/ld-linux-x86-64.so.2"
        );
        let library = program_of(&[segment(1, b"code"), segment(2, &entry(1, 10))]);
        let error = check(&library).unwrap_err();
        assert_eq!(error, ProgramFault::Dynamic("shared libraries".into()));
    }

    /// This test is a program of this machine, and tests are linked dynamically.
    #[test]
    fn a_real_dynamic_program_is_found_out() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if cfg!(all(
            target_arch = "x86_64",
            not(target_feature = "crt-static")
        )) {
            assert!(matches!(check(&program), Err(ProgramFault::Dynamic(_))));
        }
    }

    #[test]
    fn what_is_something_else_is_named() {
        use ProgramFault::{NotElf, NotExecutable, OtherProcessor, OtherSystem};
        let table = [
            (b"".to_vec(), NotElf("an empty file")),
            (b"\xcf\xfa\xed\xfe\x07".to_vec(), NotElf("a macOS program")),
            (b"\xca\xfe\xba\xbe\x00".to_vec(), NotElf("a macOS program")),
            (b"MZ\x90".to_vec(), NotElf("a Windows program")),
            (b"#!/bin/sh\n".to_vec(), NotElf("a script")),
            (b"hello".to_vec(), NotElf("some other file")),
            (with_byte(18, 183), OtherProcessor("aarch64 (ARM, 64 bits)")),
            (with_byte(18, 7), OtherProcessor("another processor")),
            (with_byte(CLASS_AT, 1), OtherProcessor("a 32-bit processor")),
            (
                with_byte(ORDER_AT, 2),
                OtherProcessor("a big-endian processor"),
            ),
            (with_byte(SYSTEM_AT, 9), OtherSystem(9)),
            (with_byte(16, 1), NotExecutable),
            (with_byte(16, 4), NotExecutable),
            // The entry point is 0x1000: without this byte there is none.
            (with_byte(25, 0), NotExecutable),
        ];
        for (bytes, expected) in table {
            assert_eq!(check(&bytes), Err(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let program = static_program();
        for length in 1..program.len() {
            let fault = check(&program[..length]).unwrap_err();
            assert!(
                matches!(fault, ProgramFault::Broken(_) | ProgramFault::NotElf(_)),
                "{length}: {fault}"
            );
        }
        let nothing_to_load = program_of(&[segment(4, b"note")]);
        assert!(matches!(
            check(&nothing_to_load),
            Err(ProgramFault::Broken(_))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            check(&bytes).ok();
            check(&[b"\x7fELF\x02\x01\x01", &bytes[..]].concat()).ok();
        }

        #[test]
        fn no_changed_program_makes_it_panic(
            changes in proptest::collection::vec((0_usize..400, any::<u8>()), 0..20),
            shift in 0_usize..9,
        ) {
            for mut program in [static_program(), dynamic_program()] {
                for (at, byte) in &changes {
                    if let Some(old) = program.get_mut(*at) {
                        *old = *byte;
                    }
                }
                // Nothing says that a program in memory starts at an even address.
                let shifted = [vec![0; shift], program].concat();
                check(&shifted[shift..]).ok();
            }
        }
    }
}
