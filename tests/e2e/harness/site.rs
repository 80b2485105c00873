//! A site folder that is edited as people, editors and generators do it.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

/// A tree of files as a story expects it: site path → bytes.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

/// A folder whose files are a site; not necessarily there yet.
#[derive(Debug, Clone)]
pub(crate) struct SiteFolder {
    root: PathBuf,
}

impl SiteFolder {
    /// Names a folder, without making it.
    pub(crate) const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns where the folder is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the place of a file.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes a file in place: opened, truncated, written, closed.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        make_folder_of(&path);
        fs::write(path, text).expect("the site can be written");
    }

    /// Saves a file as editors do: a temporary file beside it, renamed over it.
    pub(crate) fn save(&self, path: &str, text: &str) {
        let path = self.path(path);
        make_folder_of(&path);
        let name = path
            .file_name()
            .expect("a file has a name")
            .to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.swp"));
        let mut file = fs::File::create(&temporary).expect("the site can be written");
        file.write_all(text.as_bytes())
            .expect("the site can be written");
        drop(file);
        fs::rename(temporary, path).expect("a file can be renamed over another");
    }

    /// Deletes a file.
    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).expect("the file is there");
    }

    /// Deletes a folder with all that is in it.
    pub(crate) fn remove_folder(&self, path: &str) {
        fs::remove_dir_all(self.path(path)).expect("the folder is there");
    }

    /// Renames a file or a folder within the site.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let to = self.path(to);
        make_folder_of(&to);
        fs::rename(self.path(from), to).expect("it can be renamed");
    }

    /// Deletes everything in the folder, as a generator's clean step does.
    pub(crate) fn wipe(&self) {
        for entry in fs::read_dir(&self.root).expect("the site is there") {
            let path = entry.expect("the site can be listed").path();
            if path.is_dir() {
                fs::remove_dir_all(path).expect("it can be deleted");
            } else {
                fs::remove_file(path).expect("it can be deleted");
            }
        }
    }

    /// Returns every file in the folder, symbolic links to files read through.
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        collect(&self.root, "", &mut tree);
        tree
    }
}

fn make_folder_of(path: &Path) {
    let folder = path.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).expect("the folder can be made");
}

fn collect(folder: &Path, prefix: &str, tree: &mut Tree) {
    for entry in fs::read_dir(folder).expect("the site is there") {
        let entry = entry.expect("the site can be listed");
        let name = entry.file_name();
        let path = format!("{prefix}{}", name.to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{path}/"), tree);
        } else {
            tree.insert(path, fs::read(entry.path()).expect("the file can be read"));
        }
    }
}
