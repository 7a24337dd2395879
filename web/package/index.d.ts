/** A point of an image in pixels: to the right, downwards. The left upper corner is [0, 0]. */
export type Point = [x: number, y: number];

/** An upright rectangle in pixels. */
export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** Four corners, clockwise from the text's top left. */
export type Quad = [Point, Point, Point, Point];

/**
 * Where text lies in a page: a rectangle, four corners, or a polygon around curved text: an even
 * number of points, clockwise, the first half of them along the upper edge.
 */
export type Region = Rect | Quad | Point[];

/** Pixels, or the bytes of a PNG or JPEG file. */
export type Image = ImageData | Uint8Array | ArrayBuffer;

/** How a recognizer is set up. */
export interface Setup {
  /** The symbols, for weights that carry none. */
  charset?: string[];
  /** The largest aspect ratio that crops keep; wider ones are squeezed. Default: the weights'. */
  maxRatio?: number;
  /** The temperature of confidences. Default: the weights'. */
  temperature?: number;
  /** Crops more than 1.5 times as tall as wide: recognised as they are (default), turned, or both. */
  orientation?: "as-is" | "rotate" | "best";
  /** What the network computes in: int8 is faster, with small errors. Default: what the weights say. */
  precision?: "f32" | "int8";
}

export interface SetupWithModel extends Setup {
  /** The bytes of a language model (`english.ngram`). */
  languageModel?: Uint8Array | ArrayBuffer;
}

export interface LatinSetup extends Setup {
  /** Loads the language model of 38 languages too (0.3 MB), for `decoder: "languageModel"`. Default: false. */
  languageModel?: boolean;
}

/** How workers are set up. */
export interface PoolSetup extends SetupWithModel {
  /**
   * Workers at most; each of them holds the network. Default: the browser's count of processors, 4 at
   * most.
   */
  workers?: number;
}

/** How texts are found. */
export interface Options {
  /** Default: greedy, or beam where another option needs one. */
  decoder?: "greedy" | "beam" | "languageModel";
  /** Texts at most, the best and its alternatives. Default: 1. */
  nBest?: number;
  /** Prefixes that the beam search keeps. Default: 10. */
  beamWidth?: number;
  /** The only characters that a text may have. */
  allow?: string;
  /** The only texts that there may be. */
  lexicon?: string[];
  /**
   * Words end at wide gaps too, not at spaces alone: an estimate, for networks without a space symbol
   * such as the English one. Default: false.
   */
  wordsByGaps?: boolean;
}

export interface Character {
  symbol: string;
  /** The probability (0 to 1) that the character is right. */
  confidence: number;
  /** Its probability (0 to 1) in its first frame. */
  score: number;
  /** The upright rectangle around it. */
  bounds: Rect;
  /** The rectangle along the line of text; the first corner is the character's own top left. */
  quad: Quad;
}

export interface Word {
  /** Without spaces; never empty. */
  text: string;
  /** The probability (0 to 1) that the word is right. */
  confidence: number;
  /** The upright rectangle around it. */
  bounds: Rect;
  /** The rectangle along the line of text; the first corner is the word's own top left. */
  quad: Quad;
  /** Its characters: `characters.slice(start, end)` of the recognition. */
  characters: [start: number, end: number];
  /** Whether a gap, and no space, separates it from the word before. */
  followsGap: boolean;
}

export interface Alternative {
  text: string;
  /** The natural-log probability of the text in the beam. */
  logProb: number;
  /** What texts are ranked by. */
  score: number;
}

export interface Recognition {
  /** May be empty. */
  text: string;
  /** The probability (0 to 1) that the text is right. */
  confidence: number;
  /** The mean of the characters' scores. */
  score: number;
  /** The natural-log probability of the text; null if none fits. */
  logProb: number | null;
  /** In reading order; in pixels of the image. */
  characters: Character[];
  /** In reading order: the runs of characters between spaces, and with `wordsByGaps` between gaps. */
  words: Word[];
  /** The next texts, best first. */
  alternatives: Alternative[];
  /** By how many degrees the crop was turned clockwise before recognition. */
  turned: 0 | 90 | -90 | 180;
}

/** A region that could not be recognised. */
export interface Failure {
  error: string;
}

/** Recognises the text in crops of images and in regions of pages. Computes on the calling thread. */
export class Recognizer {
  private constructor();
  /** The package's model for lines and words in all Latin scripts. */
  static latin(setup?: LatinSetup): Promise<Recognizer>;
  /** The package's model for English words, with its language model. */
  static english(setup?: Setup): Promise<Recognizer>;
  /** A weights file (safetensors, PyTorch) in memory. */
  static fromBytes(weights: Uint8Array | ArrayBuffer, setup?: SetupWithModel): Promise<Recognizer>;
  /** The symbols that the network knows. */
  readonly charset: string[];
  /** Recognises an image of one word or line of text. Throws an Error for bad input. */
  recognize(image: Image, options?: Options): Recognition;
  /** Recognises regions of a page, in their order; positions are in pixels of the page. */
  recognizeRegions(image: Image, regions: Region[], options?: Options): (Recognition | Failure)[];
  /** Gives the memory back; the recognizer cannot be used any more. */
  free(): void;
}

/** A line of text on a page. */
export interface FoundLine {
  /** The rectangle around it; tall ones are taken for text that runs downwards. */
  quad: Quad;
  /** A polygon around curved text; empty for straight text. */
  outline: Point[];
  /** The mean probability (0 to 1) of its pixels to be text. */
  score: number;
}

/** Finds the lines of pages. Computes on the calling thread. */
export class Detector {
  private constructor();
  /** The weights of one of PP-OCRv6's detectors, converted by `svtrv2 convert --detector`. */
  static fromBytes(weights: Uint8Array | ArrayBuffer): Promise<Detector>;
  /** The lines in reading order: `recognizeRegions` takes their quads. Throws an Error for bad input. */
  detect(image: Image): FoundLine[];
  /** Gives the memory back; the detector cannot be used any more. */
  free(): void;
}

/**
 * Recognises in web workers, so that the calling thread stays free and regions of a page are
 * distributed over processors. Shares no memory, so that a page needs no special headers. One worker
 * runs from the start on; more start when regions wait. For browsers alone.
 */
export class RecognizerPool {
  private constructor();
  /** As `Recognizer.latin`. */
  static latin(setup?: Omit<PoolSetup, "languageModel"> & LatinSetup): Promise<RecognizerPool>;
  /** As `Recognizer.english`. */
  static english(setup?: PoolSetup): Promise<RecognizerPool>;
  /** A weights file (safetensors, PyTorch) in memory. The bytes must stay as they are. */
  static fromBytes(weights: Uint8Array | ArrayBuffer, setup?: PoolSetup): Promise<RecognizerPool>;
  /** The symbols that the network knows. */
  readonly charset: string[];
  /** Workers that have been started. */
  readonly size: number;
  /** As `Recognizer.recognize`; rejects for bad input. */
  recognize(image: Image, options?: Options): Promise<Recognition>;
  /**
   * As `Recognizer.recognizeRegions`. Workers keep the last image that they saw: give an image whose
   * pixels have changed as another object.
   */
  recognizeRegions(
    image: Image,
    regions: Region[],
    options?: Options,
  ): Promise<(Recognition | Failure)[]>;
  /** As `Detector.detect`, by a worker, which gets the bytes of the detector's weights once. */
  detect(image: Image, weights: Uint8Array | ArrayBuffer): Promise<FoundLine[]>;
  /** Ends the workers; calls that are under way reject. */
  free(): void;
}
