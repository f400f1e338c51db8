// The texts of a training: files opened as the options name them, their parts, rows and windows.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <strata/data/file_list.hpp>
#include <strata/data/rows.hpp>
#include <strata/data/text.hpp>
#include <strata/data/text_notice.hpp>

#include "run_files.hpp"
#include "tokenizer.hpp"

namespace examples {

/// Which texts, in the words of the command line.
struct text_options {
  std::vector<std::string> training, validation;  ///< names of files, folders, patterns and lists
  std::vector<double> weights;                    ///< of the names in `training`; empty: they are one text
  std::string tokenizer;                          ///< its file; the files hold text or its tokens
  strata::token_format format = strata::token_format::bytes;
  std::optional<strata::document_ends> documents;  ///< default: of one file none, of several the ends of files
  strata::token separator = 0;
  double validation_fraction = 0.1;
  bool validation_documents = false;  ///< the fraction is of whole documents, not the end of the text
};

/// Windows of several parts, one part after the other.
class joined_windows {
 public:
  joined_windows(std::span<const strata::corpus_part> parts, strata::index_type length) {
    for (const auto& part : parts) {
      if (part.empty()) continue;
      windows_.emplace_back(part, length);
      counts_.push_back(counts_.back() + windows_.back().count());
    }
  }
  strata::index_type count() const { return counts_.back(); }
  void copy(strata::index_type position, std::span<strata::token> ids) const {
    const std::size_t at = strata::detail::part_with(counts_, position);
    windows_[at].copy(position - counts_[at], ids);
  }

 private:
  std::vector<strata::corpus_windows> windows_;
  std::vector<strata::index_type> counts_{0};
};

/// Windows whose labels are counted as they are copied, in tokens and in bytes of text.
class counted_windows {
 public:
  counted_windows(const joined_windows& of, const tokenizer& by) : of_(of), by_(by) {}
  strata::index_type count() const { return of_.count(); }
  void copy(strata::index_type position, std::span<strata::token> ids) const {
    of_.copy(position, ids);
    for (const strata::token id : ids.subspan(1)) {
      if (id == strata::no_token) continue;
      tokens_ += 1;
      bytes_ += static_cast<double>(by_.text_of(id).size());
    }
  }
  double bytes_per_token() const { return tokens_ > 0 && bytes_ > 0 ? bytes_ / tokens_ : 1; }

 private:
  const joined_windows& of_;
  const tokenizer& by_;
  mutable double tokens_ = 0, bytes_ = 0;
};

/// The opened texts, split into parts.
class texts {
 public:
  explicit texts(const text_options& options) : options_(options) {
    for (auto* names : {&options_.training, &options_.validation})
      for (std::string& name : *names)
        if (name == "-") name = "/dev/stdin";
    const bool mixed = !options_.weights.empty();
    strata::require(!mixed || options_.weights.size() == options_.training.size(), "there are ",
                    options_.weights.size(), " weights for ", options_.training.size(), " texts");
    using paths = std::vector<std::filesystem::path>;
    std::vector<paths> sources;
    if (mixed)
      for (const std::string& name : options_.training) sources.push_back(strata::list_files({name}));
    else
      sources.push_back(strata::list_files(options_.training));
    const paths validation = strata::list_files(options_.validation);
    paths all = validation;
    for (const paths& source : sources) all.insert(all.end(), source.begin(), source.end());
    strata::require_different_files(all);
    file_count_ = all.size();
    if (!options_.tokenizer.empty()) tokenizer_ = read_tokenizer(options_.tokenizer);
    for (const paths& source : sources) sources_.push_back(open(source));
    if (!validation.empty()) validation_source_ = open(validation);
    split(options_.validation_fraction);
  }

  /// Splits the texts into training and validation again.
  void split(double validation_fraction) {
    options_.validation_fraction = validation_fraction;
    training_.clear();
    validation_.clear();
    for (const strata::corpus& source : sources_) {
      const double fraction = validation_source_ ? 0 : validation_fraction;
      auto parts = options_.validation_documents && fraction > 0 ? strata::split_by_document(source, fraction)
                                                                 : strata::split_at_end(source, fraction);
      training_.push_back(std::move(parts.training));
      if (fraction > 0) validation_.push_back(std::move(parts.validation));
    }
    if (validation_source_) validation_.push_back(strata::whole(*validation_source_));
  }

  const text_options& options() const { return options_; }
  std::string name() const {
    std::string all;
    for (const std::string& each : options_.training) all += (all.empty() ? "" : ", ") + each;
    return all;
  }
  std::string quoted_name() const { return strata::to_text(std::filesystem::path(name())); }
  std::size_t files() const { return file_count_; }
  const char* unit() const { return is_bytes() ? "bytes" : "tokens"; }
  /// Of its tokenizer; without one 256.
  int vocabulary() const { return tokenizer_ ? tokenizer_->vocabulary() : 256; }
  /// Empty without a tokenizer.
  std::string tokenizer_fingerprint() const {
    const std::string_view file = tokenizer_file();
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(file.data());
    return file.empty() ? "" : examples::fingerprint({bytes, file.size()});
  }
  std::string_view tokenizer_file() const { return tokenizer_ ? tokenizer_->file() : std::string_view(); }
  /// What the tokens stand for; known after `prepare`.
  const tokenizer& by() const { return *tokenizer_; }
  strata::index_type training_tokens() const { return tokens_of(training_); }
  strata::index_type validation_tokens() const { return tokens_of(validation_); }
  bool has_validation() const { return !validation_.empty(); }
  /// How the text is read, for comparison: what is not in the fingerprint.
  std::string reading() const {
    const auto ends = sources_.front().options().ends;
    std::string text = strata::to_text(strata::name_of(options_.format), ", documents: ", strata::name_of(ends));
    if (ends == strata::document_ends::separators) text += strata::to_text(" ", options_.separator);
    if (!options_.weights.empty()) {
      text += ", weights:";
      for (const double weight : options_.weights) text += strata::to_text(" ", weight);
    }
    if (validation_source_)
      text += strata::to_text(", validation: ", validation_source_->size(), " tokens of its own");
    else if (options_.validation_documents)
      text += ", validation: documents";
    return text;
  }
  /// Tokens of all files.
  std::uint64_t tokens() const {
    std::uint64_t total = 0;
    for (const strata::corpus& source : sources_) total += static_cast<std::uint64_t>(source.size());
    return total;
  }

  /// Throws unless rows and windows of this length can be had, of tokens below `vocabulary`.
  void prepare(strata::index_type length, int vocabulary, std::uint64_t seed) {
    if (!tokenizer_)
      tokenizer_ = vocabulary <= 256 ? byte_tokens() : numbered_tokens();
    else
      strata::require(tokenizer_->vocabulary() == vocabulary, tokenizer_->name(), ": its vocabulary has ",
                      tokenizer_->vocabulary(), " tokens, but that of the model ", vocabulary);
    strata::require(!is_bytes() || vocabulary <= 256, "the model has a vocabulary of ", vocabulary,
                    " tokens: give the text's tokenizer with --tokenizer, or files of tokens with --tokens");
    for (auto& part : training_) part = {part.of().with_vocabulary(vocabulary), part.ranges()};
    for (auto& part : validation_) part = {part.of().with_vocabulary(vocabulary), part.ranges()};
    if (bytes() <= small_text) check_tokens(vocabulary);
    require_length("training", training_, length);
    if (has_validation()) require_length("validation", validation_, length);
    rows_.emplace(seed);
    for (std::size_t n = 0; n < training_.size(); ++n)
      rows_->add(options_.training[n], options_.weights.empty() ? 1 : options_.weights[n],
                 strata::random_rows(training_[n], seed));
    if (has_validation()) windows_.emplace(validation_, length);
    measure_tokens(vocabulary);
  }
  /// Of the training text, as far as it was measured; 1 if the tokens' texts are not known.
  double bytes_per_token() const { return bytes_per_token_; }
  void fill(strata::index_type step, strata::index_type row, std::span<strata::token> ids) const {
    rows_->fill(step, row, ids);
  }
  const joined_windows& windows() const { return *windows_; }

  /// What was noticed about files that do not look like text.
  std::vector<std::string> notices() const {
    std::vector<std::string> all;
    if (!is_bytes()) return noticed_;
    for (const strata::corpus& source : sources_)
      for (const strata::token_file& file : source.files())
        if (auto notice = strata::notice_of(file.reader())) all.push_back(std::move(*notice));
    return all;
  }
  /// A hash of what is learned from. Of large texts it is one of sizes and of the ends of files.
  std::string fingerprint() const {
    constexpr std::uint64_t end = std::uint64_t{1} << 20;
    const bool whole = bytes() <= small_text;
    examples::hash sum;
    std::vector<std::byte> part;
    const auto add = [&](const strata::file_reader& file, std::uint64_t first, std::uint64_t last) {
      for (; first < last; first += part.size()) {
        part.resize(static_cast<std::size_t>(std::min(last - first, end)));
        file.read(first, part);
        sum.add(part);
      }
    };
    for (const strata::corpus& source : sources_)
      for (const strata::token_file& each : source.files()) {
        const strata::file_reader& file = each.reader();
        if (whole) {
          add(file, 0, file.size());
        } else {
          const std::uint64_t size = file.size();
          sum.add(std::as_bytes(std::span(&size, 1)));
          add(file, 0, std::min(size, end));
          add(file, size - std::min(size, end), size);
        }
      }
    return sum.text();
  }
  /// Bits per token of a model that knows only the frequencies of tokens, in up to the first 64 M of them.
  double order0_entropy() const {
    std::map<strata::token, std::uint64_t> count_of;  // a token may be a large number
    std::uint64_t left = std::uint64_t{1} << 26;
    for (const strata::corpus& source : sources_)
      source.for_each_piece(0, source.size(), [&](strata::index_type, std::span<const strata::token> piece) {
        for (const strata::token id : piece) ++count_of[id];
        left -= std::min<std::uint64_t>(left, piece.size());
        return left > 0;
      });
    std::vector<std::uint64_t> counts;
    for (const auto& [id, count] : count_of) counts.push_back(count);
    return strata::order0_entropy_of(counts);
  }

 private:
  bool is_bytes() const { return options_.format == strata::token_format::bytes && options_.tokenizer.empty(); }
  /// Texts of so many bytes are read as a whole before training starts.
  static constexpr std::uint64_t small_text = std::uint64_t{1} << 28;

  std::uint64_t bytes() const {
    std::uint64_t total = 0;
    for (const strata::corpus& source : sources_)
      for (const strata::token_file& file : source.files()) total += file.reader().size();
    return total;
  }
  /// Throws unless every token is in the vocabulary. Of larger texts, each row is checked when it is read.
  void check_tokens(int vocabulary) const {
    if (is_bytes() && vocabulary >= 256) return;
    for (const strata::corpus& source : sources_)
      source.with_vocabulary(vocabulary).for_each_piece(0, source.size(), [](auto, auto) { return true; });
  }
  strata::corpus open(const std::vector<std::filesystem::path>& files) {
    strata::corpus_options chosen{.format = options_.format,
                                  .vocabulary = std::numeric_limits<int>::max(),
                                  .ends = options_.documents.value_or(files.size() > 1 ? strata::document_ends::files
                                                                                       : strata::document_ends::none),
                                  .separator = options_.separator};
    if (options_.format != strata::token_format::bytes || !tokenizer_) return {files, chosen};
    // Texts become tokens at once, and these are kept.
    chosen.format = strata::token_format::uint32;
    std::vector<strata::token_file> encoded;
    for (const auto& path : files) encoded.push_back(encode(path));
    return {std::move(encoded), chosen};
  }
  strata::token_file encode(const std::filesystem::path& path) {
    const strata::file_reader file(path);
    if (auto notice = strata::notice_of(file)) noticed_.push_back(std::move(*notice));
    const auto bytes = strata::read_all(file);
    strata::require(bytes.size() > 0, file.name(), ": the text is empty");
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(bytes.size()));
    const auto ids = tokenizer_->encode(text);
    strata::buffer<std::byte> tokens(static_cast<strata::index_type>(ids.size() * sizeof(strata::token)));
    std::memcpy(tokens.data(), ids.data(), ids.size() * sizeof(strata::token));
    std::string_view rest = text;
    bool same = true;
    for (std::size_t n = 0; n < ids.size() && same; ++n) {
      const std::string own = tokenizer_->text_of(ids[n]);
      same = rest.starts_with(own);
      if (same) rest.remove_prefix(own.size());
    }
    if (!same || !rest.empty())
      noticed_.push_back(strata::to_text(file.name(), ": the tokens of ", tokenizer_->name(),
                                         " do not give back this text to the byte; docs/training.md has the options "
                                         "of spm_train with which they do"));
    return {strata::file_reader(std::move(tokens), file.name()), strata::token_format::uint32};
  }
  void measure_tokens(int vocabulary) {
    bytes_per_token_ = 1;
    if (is_bytes() || !tokenizer_->knows_text()) return;
    double bytes = 0, tokens = 0;
    for (const strata::corpus& source : sources_)
      source.with_vocabulary(vocabulary)
          .for_each_piece(0, source.size(), [&](auto, std::span<const strata::token> piece) {
            for (const strata::token id : piece) bytes += static_cast<double>(tokenizer_->text_of(id).size());
            tokens += static_cast<double>(piece.size());
            return tokens < measured_tokens;
          });
    if (bytes > 0) bytes_per_token_ = bytes / tokens;
  }
  static strata::index_type tokens_of(const std::vector<strata::corpus_part>& parts) {
    strata::index_type total = 0;
    for (const auto& part : parts) total += part.size();
    return total;
  }
  /// A text that is one document must fill a row.
  void require_length(const char* use, const std::vector<strata::corpus_part>& parts, strata::index_type length) const {
    for (std::size_t n = 0; n < parts.size(); ++n) {
      const auto& part = parts[n];
      const auto& files = part.of().files();
      const std::string name = files.size() == 1 ? files.front().name() : strata::to_text(files.size(), " files");
      const bool short_allowed =
          part.of().options().ends == strata::document_ends::separators || part.ranges().size() > 1;
      strata::require(part.size() > (short_allowed ? 0 : length), name, ": the ", use, " part has ", part.size(), " ",
                      unit(), ", but a sequence of length ", length, " needs ", length + 1);
    }
  }

  static constexpr double measured_tokens = 1 << 20;

  text_options options_;
  std::shared_ptr<const tokenizer> tokenizer_;
  double bytes_per_token_ = 1;
  std::vector<std::string> noticed_;  // of texts that were encoded
  std::size_t file_count_ = 0;
  std::vector<strata::corpus> sources_;
  std::optional<strata::corpus> validation_source_;
  std::vector<strata::corpus_part> training_, validation_;
  std::optional<strata::mixture> rows_;
  std::optional<joined_windows> windows_;
};

}  // namespace examples
