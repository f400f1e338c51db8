// The probability of the next byte, bit by bit: the network's prediction, mixed with those of simple counters.
//
// The network learns slowly and generalises; counters of what followed the last 1 to 6 bytes know a phrase after they
// have seen it once. A small linear model, trained after each bit, weighs all their log odds.
// Source: M. Mahoney, "Adaptive weighing of context models for lossless data compression", 2005 (PAQ).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace compress_text {

struct mixer_options {
  int counter_bits = 22;  ///< the counters of each order are 2^this
  int history_bits = 24;  ///< bytes of history in which repeated passages are found: 2^this, in all streams
};

/// Predicts the bytes of several streams, one after the other. What it learns from one serves all. Two objects that are
/// given the same calls give the same probabilities.
class byte_mixer {
 public:
  byte_mixer(int streams, mixer_options options);

  /// Forgets where the streams are, but nothing that was learned. The next bytes are of other texts.
  void begin_texts(int streams);
  /// Begins the next byte of a stream. `logits` are the network's, of all 256 bytes.
  void begin_byte(int stream, std::span<const float> logits);
  /// The frequency of a 1 as the next bit, from the highest to the lowest, out of `frequency_sum`.
  std::uint32_t frequency();
  /// Learns the bit. The eighth ends the byte.
  void learn(bool bit);

 private:
  static constexpr int orders = 9;  // contexts: 1 to 6 bytes, a word, two words, the bytes before the last
  static constexpr int inputs = 2 * orders + 5;
  static constexpr int sets = 3;  // of weights
  using input_list = std::array<float, inputs>;

  struct counter {
    std::uint16_t probability = 0x8000;
    std::uint8_t seen = 0, check = 0;
  };
  struct stream {
    std::uint64_t recent = 0;                 // the last 8 bytes, the newest lowest
    std::uint32_t word = 0, word_before = 0;  // hashes of the letters since the last other byte, and of the word before
    std::array<std::uint32_t, orders> contexts{};
    std::uint32_t position = 0;  // in the stream's part of the history
    std::uint32_t match = 0;     // place in the history that repeats the last bytes
    int match_length = 0;
  };

  void end_byte();
  void find_match(stream& own);
  std::uint32_t next_place(std::uint32_t place) const;
  counter& counter_of(int order);

  mixer_options options_;
  std::vector<stream> streams_;
  std::uint32_t part_ = 0;  // bytes of history of each stream
  std::vector<std::uint8_t> history_;
  std::vector<std::uint32_t> last_places_;  // by hash of the last bytes, +1
  std::array<std::vector<counter>, orders> counters_;
  std::vector<float> calibrated_;        // [order][seen][probability]
  std::vector<float> match_calibrated_;  // [length]
  std::array<float, 256> order0_{};
  std::vector<float> refined1_, refined2_;  // [context][33]

  // Of the current byte and bit.
  stream* current_ = nullptr;
  int number_ = 0;
  std::array<float, 512> shares_{};  // of the nodes of the tree of bits, by the network
  int node_ = 1;
  int network_bucket_ = 0;
  input_list inputs_{};
  std::array<counter*, orders> chosen_{};
  std::array<float*, orders> chosen_calibrated_{};
  std::array<std::vector<input_list>, sets> weights_;
  std::array<input_list*, sets> chosen_weights_{};
  std::array<float, sets> outputs_{}, output_odds_{};
  std::vector<std::array<float, sets>> final_weights_;
  std::array<float, sets>* chosen_final_ = nullptr;
  float mixed_ = 0.5f, mixed_odds_ = 0;
  float* chosen_match_ = nullptr;
  bool expected_bit_ = false;
  std::array<float*, 2> chosen_refined_{};
  float refined_share_ = 0;
  float rate_ = 0.02f;
};

}  // namespace compress_text
