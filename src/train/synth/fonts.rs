//! Fonts to render with.

use std::path::Path;
use std::sync::Arc;

use ab_glyph::{Font, FontVec};
use fontdb::Database;
use rand::{Rng, RngExt};

use crate::error::shortened;
use crate::files;
use crate::train::TrainError;

/// Families whose letters are pictures.
const PICTURES: [&str; 8] =
    ["dingbat", "symbol", "d050000l", "emoji", "braille", "music", "icon", "math"];

/// A set of fonts.
#[derive(Clone, Default)]
pub struct Fonts(Vec<Arc<Face>>);

/// One font.
pub(super) struct Face {
    pub name: String,
    pub font: FontVec,
    /// Characters that it draws wrongly or not at all, besides those that it does not know.
    missing: String,
    /// Whether its small letters look like capitals: such a font shall draw capitals only.
    capitals: bool,
}

impl Face {
    /// A text as this font can draw it: in capitals if it has no others; `None` if it cannot.
    pub(super) fn drawable(&self, text: &str) -> Option<String> {
        let text = if self.capitals { text.to_uppercase() } else { text.to_owned() };
        (!text.contains(|c| self.missing.contains(c))).then_some(text)
    }
}

impl std::fmt::Debug for Fonts {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} fonts", self.0.len())
    }
}

impl Fonts {
    /// The fonts that the system has, but for those with pictures.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there are none.
    pub fn system() -> Result<Self, TrainError> {
        Self::system_where(|_| true)
    }

    /// Those of the system's fonts that `keep` wants by their names; the others are not loaded.
    ///
    /// # Errors
    /// As [`Fonts::system`].
    pub fn system_where(keep: impl Fn(&str) -> bool) -> Result<Self, TrainError> {
        let mut database = Database::new();
        database.load_system_fonts();
        Self::of(&database, "the system", keep)
    }

    /// The fonts in a folder and the folders below it, but for those with pictures.
    ///
    /// # Errors
    /// [`TrainError::Options`] if there are none.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, TrainError> {
        let folder = folder.as_ref();
        let mut database = Database::new();
        database.load_fonts_dir(folder);
        Self::of(&database, &folder.display().to_string(), |_| true)
    }

    /// The fonts of a list that tells what each can do, one a line, with tabs between: the file,
    /// relative to the list; its name; the characters that it lacks, or `-`; `capsonly=1` if its
    /// small letters are capitals; `score=` and how legible it is, 0..=1. Those below `least_score`
    /// are left out.
    ///
    /// # Errors
    /// [`TrainError::Io`] if a file cannot be read; [`TrainError::Options`] if a line is something
    /// else, or there are no fonts.
    pub fn from_list(list: impl AsRef<Path>, least_score: f64) -> Result<Self, TrainError> {
        let list = list.as_ref();
        let read = |path: &Path| {
            files::read(path, files::MAX_TEXT)
                .map_err(|source| TrainError::Io { path: path.to_owned(), source })
        };
        let text = String::from_utf8_lossy(&read(list)?).into_owned();
        let folder = list.parent().unwrap_or(Path::new(""));
        let mut faces = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let fault = || {
                let detail = format!("{}: {:?} is no font", list.display(), shortened(line));
                TrainError::Options { detail }
            };
            let mut fields = line.split('\t');
            let (Some(file), Some(_), Some(missing)) =
                (fields.next(), fields.next(), fields.next())
            else {
                return Err(fault());
            };
            let (mut capitals, mut score) = (false, 1.0);
            for field in fields {
                match field.split_once('=') {
                    Some(("capsonly", value)) => capitals = value == "1",
                    Some(("score", value)) => score = value.parse().map_err(|_| fault())?,
                    _ => return Err(fault()),
                }
            }
            if score < least_score {
                continue;
            }
            let missing = if missing == "-" { String::new() } else { missing.to_owned() };
            if let Ok(font) = FontVec::try_from_vec(read(&folder.join(file))?) {
                let name = Path::new(file).file_stem().unwrap_or_default();
                let name = name.to_string_lossy().into_owned();
                faces.push(Arc::new(Face { name, font, missing, capitals }));
            }
        }
        Self::sorted(faces, &list.display().to_string())
    }

    fn of(
        database: &Database,
        place: &str,
        keep: impl Fn(&str) -> bool,
    ) -> Result<Self, TrainError> {
        let mut faces = Vec::new();
        for info in database.faces() {
            let name = info.post_script_name.clone();
            if !keep(&name) || PICTURES.iter().any(|word| name.to_lowercase().contains(word)) {
                continue;
            }
            let load = |data: &[u8], index: u32| {
                FontVec::try_from_vec_and_index(data.to_vec(), index).ok()
            };
            let font = database.with_face_data(info.id, load).flatten();
            // Bitmap fonts and fonts without letters are of no use.
            let letters = |font: &FontVec| {
                ['a', 'A', '0'].into_iter().any(|c| font.outline(font.glyph_id(c)).is_some())
            };
            if let Some(font) = font.filter(letters) {
                let (missing, capitals) = (String::new(), false);
                faces.push(Arc::new(Face { name, font, missing, capitals }));
            }
        }
        // The database's order is the file system's.
        Self::sorted(faces, place)
    }

    fn sorted(mut faces: Vec<Arc<Face>>, place: &str) -> Result<Self, TrainError> {
        faces.sort_by(|a, b| a.name.cmp(&b.name));
        faces.dedup_by(|a, b| a.name == b.name);
        if faces.is_empty() {
            return Err(TrainError::Options { detail: format!("{place} has no such fonts") });
        }
        Ok(Fonts(faces))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|face| face.name.as_str())
    }

    /// Those that `keep` wants by their names.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Fonts(self.0.iter().filter(|face| keep(&face.name)).cloned().collect())
    }

    /// Splits into most of the families and the rest, one of `every`, so that no family is in both:
    /// for training and for validation.
    pub fn split(&self, every: usize) -> (Self, Self) {
        // PostScript names are "Family-Style".
        let family = |name: &str| name.split('-').next().unwrap_or(name).to_lowercase();
        let mut families: Vec<String> = self.names().map(family).collect();
        families.dedup();
        let rest = |name: &str| {
            let index = families.iter().position(|other| *other == family(name));
            index.is_some_and(|index| index % every.max(1) == 0)
        };
        (self.filtered(|name| !rest(name)), self.filtered(rest))
    }

    pub(super) fn draw(&self, rng: &mut impl Rng) -> &Face {
        &self.0[rng.random_range(0..self.0.len())]
    }
}
