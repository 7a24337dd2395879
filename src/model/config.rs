//! The configuration of a network: an encoder, a head, and what they take.

use serde::{Deserialize, Serialize};

use super::encoder::EncoderConfig;
use super::encoder::repvit::RepVitConfig;
use super::encoder::svtr_config::{HEAD_DIM, LocalMixer, StageConfig, SvtrConfig};
use super::head::HeadConfig;
use super::head::frm::FrmConfig;
use super::head::light_svtr::LightSvtrConfig;
use super::head::pooled::PooledConfig;
use super::head::svtr_neck::SvtrNeckConfig;
use super::limits::MLP_RATIO;
use crate::charset::Charset;
use crate::error::{ConfigError, Result};
use crate::resize::{Resizing, check_max_ratio};

/// The configuration of a network (the named constructors are the published ones).
///
/// ```
/// use svtrv2::model::Config;
///
/// let config = Config { num_classes: 1_000, max_ratio: 12, ..Config::tiny() };
/// config.validate()?;
/// assert_eq!(config.variant(), Some("SVTRv2-T"));
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredConfig")]
pub struct Config {
    /// From an image to features.
    pub encoder: EncoderConfig,
    /// From features to logits.
    pub head: HeadConfig,
    /// Classes: the blank and the symbols of the charset.
    pub num_classes: usize,
    /// How a crop becomes the network's input.
    pub resizing: Resizing,
    /// The widest aspect ratio that keeps its width; see [`Resizing`].
    pub max_ratio: u32,
}

/// A configuration as files store it: with an encoder and a head, or, in files that knew SVTRv2 alone,
/// with the stages of its encoder. Those of the published MLP widths may leave them out.
#[derive(Deserialize)]
struct StoredConfig {
    encoder: Option<EncoderConfig>,
    head: Option<HeadConfig>,
    resizing: Option<Resizing>,
    stages: Option<[StageConfig; 3]>,
    frm_heads: Option<usize>,
    frm_mlp_dim: Option<usize>,
    num_classes: usize,
    max_ratio: u32,
}

impl TryFrom<StoredConfig> for Config {
    type Error = String;

    fn try_from(stored: StoredConfig) -> Result<Self, String> {
        let StoredConfig { encoder, head, resizing, stages, frm_heads, frm_mlp_dim, .. } = stored;
        let StoredConfig { num_classes, max_ratio, .. } = stored;
        let missing = |field: &str| format!("missing field `{field}`");
        if let Some(stages) = stages {
            let heads = frm_heads.ok_or_else(|| missing("frm_heads"))?;
            let published = stages[2].dim.saturating_mul(MLP_RATIO);
            let frm = FrmConfig { heads, mlp_dim: frm_mlp_dim.unwrap_or(published) };
            return Ok(Config {
                num_classes,
                max_ratio,
                ..Config::svtr(SvtrConfig::new(stages), frm)
            });
        }
        Ok(Config {
            encoder: encoder.ok_or_else(|| missing("encoder"))?,
            head: head.ok_or_else(|| missing("head"))?,
            resizing: resizing.ok_or_else(|| missing("resizing"))?,
            num_classes,
            max_ratio,
        })
    }
}

/// Classes of the English charset with the blank.
const ENGLISH_CLASSES: usize = 95;
/// The ratio limit of the checkpoints trained on short text.
pub(crate) const SHORT_TEXT_RATIO: u32 = 4;
/// Classes of OpenOCR's multilingual models: blank, 6 623 symbols, space.
const OPEN_OCR_CLASSES: usize = 6625;
/// Classes of PP-OCRv6's tiny recogniser.
const PP_OCR_V6_TINY_CLASSES: usize = 6906;
/// Classes of PP-OCRv6's small recogniser: blank, 18 708 symbols, space.
const PP_OCR_V6_CLASSES: usize = 18710;
/// The ratio limit of networks whose published pipelines have none.
pub(crate) const LINE_RATIO: u32 = 40;

impl Config {
    /// An encoder of SVTRv2's kind with a feature rearrangement module, for English and short text.
    pub fn svtr(encoder: SvtrConfig, frm: FrmConfig) -> Self {
        Config {
            encoder: EncoderConfig::Svtr(encoder),
            head: HeadConfig::Frm(frm),
            num_classes: ENGLISH_CLASSES,
            resizing: Resizing::MultiSize,
            max_ratio: SHORT_TEXT_RATIO,
        }
    }

    fn published(dims: [usize; 3], local: [usize; 3], global: [usize; 3]) -> Self {
        let frm = FrmConfig { heads: dims[2] / HEAD_DIM, mlp_dim: dims[2] * MLP_RATIO };
        Self::svtr(SvtrConfig::published(dims, local, global), frm)
    }

    /// SVTRv2-T: 5.1 million parameters with 95 classes.
    pub fn tiny() -> Self {
        Self::published([64, 128, 256], [3, 3, 0], [0, 3, 3])
    }

    /// SVTRv2-S: 11.3 million parameters with 95 classes.
    pub fn small() -> Self {
        Self::published([96, 192, 384], [3, 3, 0], [0, 3, 3])
    }

    /// SVTRv2-B: 19.8 million parameters with 95 classes.
    pub fn base() -> Self {
        Self::published([128, 256, 384], [6, 2, 0], [0, 4, 6])
    }

    /// A network that takes lines of height 48.
    fn lines(encoder: EncoderConfig, head: HeadConfig, num_classes: usize) -> Self {
        let resizing = Resizing::published_lines();
        Config { encoder, head, num_classes, resizing, max_ratio: LINE_RATIO }
    }

    /// OpenOCR's multilingual "server" model: 21.0 million parameters.
    pub fn open_ocr_server() -> Self {
        let svtr = SvtrConfig {
            local_mixer: LocalMixer::One5x5,
            row_strides: [2, 2],
            ..SvtrConfig::published([128, 256, 384], [6, 2, 0], [0, 4, 6])
        };
        let head = HeadConfig::SvtrNeck(SvtrNeckConfig::published());
        Self::lines(EncoderConfig::Svtr(svtr), head, OPEN_OCR_CLASSES)
    }

    /// OpenOCR's multilingual "mobile" model, RepSVTR: 6.3 million parameters.
    pub fn open_ocr_mobile() -> Self {
        let head = HeadConfig::SvtrNeck(SvtrNeckConfig::published());
        Self::lines(EncoderConfig::RepVit(RepVitConfig::rep_svtr()), head, OPEN_OCR_CLASSES)
    }

    /// PP-OCRv6's tiny recogniser, with the classes of the published one.
    pub fn pp_ocr_v6_tiny() -> Self {
        let encoder = EncoderConfig::RepVit(RepVitConfig::pp_ocr_v6_tiny());
        let head = HeadConfig::Pooled(PooledConfig::published());
        Self::lines(encoder, head, PP_OCR_V6_TINY_CLASSES)
    }

    /// PP-OCRv6's small recogniser: 5.3 million parameters.
    pub fn pp_ocr_v6_small() -> Self {
        let encoder = EncoderConfig::RepVit(RepVitConfig::pp_ocr_v6_small());
        let head = HeadConfig::LightSvtr(LightSvtrConfig::published());
        Self::lines(encoder, head, PP_OCR_V6_CLASSES)
    }

    /// The name of the published network that this is, whatever its classes and ratio limit.
    pub fn variant(&self) -> Option<&'static str> {
        [
            ("SVTRv2-T", Self::tiny()),
            ("SVTRv2-S", Self::small()),
            ("SVTRv2-B", Self::base()),
            ("OpenOCR server", Self::open_ocr_server()),
            ("OpenOCR mobile", Self::open_ocr_mobile()),
            ("PP-OCRv6 tiny", Self::pp_ocr_v6_tiny()),
            ("PP-OCRv6 small", Self::pp_ocr_v6_small()),
        ]
        .into_iter()
        .find(|(_, config)| self.encoder == config.encoder && self.head == config.head)
        .map(|(name, _)| name)
    }

    /// Whether the layer of a parameter computes in f32 where the network runs in int8.
    pub(crate) fn computes_in_f32(&self, name: &str) -> bool {
        self.encoder.f32_scope().is_some_and(|scope| name.starts_with(scope))
    }

    /// Channels of the encoder's output.
    pub fn feature_dim(&self) -> usize {
        self.encoder.feature_dim()
    }

    /// Blocks of the encoder and of the head.
    pub(crate) fn blocks(&self) -> usize {
        self.encoder.blocks() + self.head.blocks()
    }

    /// Pixels of the input's width that a frame covers.
    pub fn frame_stride(&self) -> usize {
        PATCH * self.head.columns()
    }

    /// The stages of an encoder of SVTRv2's kind.
    pub fn stages(&self) -> Option<&[StageConfig; 3]> {
        match &self.encoder {
            EncoderConfig::Svtr(config) => Some(&config.stages),
            EncoderConfig::RepVit(_) => None,
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field, its value and what is permitted.
    pub fn validate(&self) -> Result<()> {
        self.encoder.validate()?;
        self.head.validate(self.feature_dim())?;
        self.resizing.validate()?;
        if !(2..=MAX_CLASSES).contains(&self.num_classes) {
            let detail = format!("{} is not in 2..={MAX_CLASSES}", self.num_classes);
            return Err(ConfigError::new("num_classes", detail).into());
        }
        check_max_ratio(self.max_ratio)?;
        Ok(())
    }
}

/// Every code point of Unicode that stands for a character has room.
const MAX_CLASSES: usize = Charset::MAX_SYMBOLS + 1;

/// Pixels of the input's width that a column of every encoder's features covers.
const PATCH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_variants() {
        for (name, config, stride) in [
            ("SVTRv2-T", Config::tiny(), 4),
            ("SVTRv2-S", Config::small(), 4),
            ("SVTRv2-B", Config::base(), 4),
            ("OpenOCR server", Config::open_ocr_server(), 8),
            ("OpenOCR mobile", Config::open_ocr_mobile(), 8),
            ("PP-OCRv6 tiny", Config::pp_ocr_v6_tiny(), 8),
            ("PP-OCRv6 small", Config::pp_ocr_v6_small(), 8),
        ] {
            config.validate().unwrap();
            assert_eq!(config.variant(), Some(name));
            assert_eq!(config.frame_stride(), stride, "{name}");
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), config, "{name}");
        }
    }

    #[test]
    fn faults_name_the_field() {
        fn stages(config: &mut Config) -> &mut [StageConfig; 3] {
            match &mut config.encoder {
                EncoderConfig::Svtr(svtr) => &mut svtr.stages,
                EncoderConfig::RepVit(_) => unreachable!("T has stages"),
            }
        }
        let frm = |heads, mlp_dim| HeadConfig::Frm(FrmConfig { heads, mlp_dim });
        type Spoil<'a> = &'a dyn Fn(&mut Config);
        let cases: [(&str, Spoil); 11] = [
            ("local_blocks, global_blocks", &|c| {
                stages(c)[0] = StageConfig::new(64, 2, usize::MAX, 2);
            }),
            ("mlp_dim", &|c| stages(c)[1].mlp_dim = 0),
            ("frm_mlp_dim", &|c| c.head = frm(8, usize::MAX)),
            ("dim", &|c| stages(c)[1].dim = 0),
            ("dim", &|c| stages(c)[0] = StageConfig { dim: 33, heads: 1, ..stages(c)[0] }),
            ("heads", &|c| stages(c)[2].heads = 7),
            ("frm_heads", &|c| c.head = frm(0, 1024)),
            ("num_classes", &|c| c.num_classes = 1),
            ("max_ratio", &|c| c.max_ratio = 0),
            ("neck taps", &|c| {
                c.head = HeadConfig::LightSvtr(LightSvtrConfig {
                    taps: 4,
                    ..LightSvtrConfig::published()
                });
            }),
            ("row_stride", &|c| {
                let mut encoder = RepVitConfig::pp_ocr_v6_tiny();
                encoder.blocks[0].row_stride = 3;
                c.encoder = EncoderConfig::RepVit(encoder);
            }),
        ];
        for (field, spoil) in cases {
            let mut config = Config::tiny();
            spoil(&mut config);
            match config.validate() {
                Err(crate::Error::Config(error)) => assert_eq!(error.field, field),
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn files_that_knew_svtr_alone_open() {
        let stage = r#"{"dim": 96, "heads": 3, "local_blocks": 3, "global_blocks": 0}"#;
        let second = r#"{"dim": 192, "heads": 6, "local_blocks": 3, "global_blocks": 3}"#;
        let third =
            r#"{"dim": 384, "heads": 12, "local_blocks": 0, "global_blocks": 3, "mlp_dim": 9}"#;
        let json = format!(
            r#"{{"stages": [{stage}, {second}, {third}], "frm_heads": 12, "num_classes": 95, "max_ratio": 4}}"#
        );
        let config: Config = serde_json::from_str(&json).unwrap();
        let mut expected = SvtrConfig::published([96, 192, 384], [3, 3, 0], [0, 3, 3]);
        expected.stages[2].mlp_dim = 9;
        assert_eq!(config, Config::svtr(expected, FrmConfig { heads: 12, mlp_dim: 1536 }));
        assert_eq!(config.variant(), None);
    }
}
