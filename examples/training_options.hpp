// The options of a training on the command line, for every program that trains.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <strata/train/trainer.hpp>

#include "program.hpp"

namespace examples {

/// Options of the command line by their names in `strata::for_each_option`.
using option_map = std::map<std::string, CLI::Option*>;

/// Adds the options that change `training`, but not those of steps, seed, losses and merge. Their defaults are the
/// values that `training` has now.
inline option_map add_training_options(CLI::App& app, strata::training_options& training) {
  option_map added;
  const auto add = [&](const char* name, const char* flag, auto& value, const char* text) {
    return added[name] = app.add_option(flag, value, text)->capture_default_str()->group("Training");
  };
  const auto add_kind = [&]<class Kind>(const char* name, const char* flag, Kind& value, const char* text) {
    const auto names = names_of(value);
    const auto read = [&app, &value, flag](const std::string& given) {
      strata::field_from_json(given, flag, app.get_name(), value);
    };
    added[name] = app.add_option_function<std::string>(flag, read, text)
                      ->default_str(std::string(strata::name_of(value)))
                      ->check(CLI::IsMember(std::vector<std::string>(names.begin(), names.end())))
                      ->group("Training");
  };
  add("batch", "--batch", training.batch, "texts in a batch")->check(whole_number(1));
  add("length", "--length", training.length, "bytes, or tokens, in a text")->check(whole_number(1));
  if (training.length == 0) added["length"]->default_str("max_length");
  add("accumulation", "--accumulation", training.accumulation, "batches in a step")->check(whole_number(1));
  add("growth", "--growth", training.growth, "steps in which batch and length double until they are whole; 0: at once")
      ->check(whole_number(0));
  add("first_batch", "--first-batch", training.first_batch, "texts in a batch at first, with --growth")
      ->check(whole_number(1));
  add("first_length", "--first-length", training.first_length, "bytes, or tokens, in a text at first, with --growth")
      ->check(whole_number(1));
  add("learning_rate", "--learning-rate", training.schedule.peak, "after the warm-up")->check(positive_number());
  add("warmup", "--warmup", training.schedule.warmup, "steps of warm-up")->check(whole_number(0));
  add("final_fraction", "--final-fraction", training.schedule.final_fraction,
      "learning rate at the end, over --learning-rate")
      ->check(number_to_1());
  add_kind("decay", "--decay", training.schedule.decay, "how the learning rate falls");
  add("decay_fraction", "--decay-fraction", training.schedule.decay_fraction,
      "share of the steps, at the end, in which it falls; before them it stays at its peak")
      ->check(number_to_1());
  add_kind("optimizer", "--optimizer", training.optimizer,
           "adamw: weight decay apart from the gradient; adam: added to it; muon: for hidden matrices, adamw for the "
           "rest");
  add("muon_learning_rate", "--muon-learning-rate", training.muon.learning_rate, "of Muon, after the warm-up")
      ->check(positive_number());
  add("table_rate", "--table-rate", training.table_rate, "learning rate of n-gram tables, over --learning-rate")
      ->check(number_from_0());
  add("weight_decay", "--weight-decay", training.weight_decay, "of the matrices; vectors have none")
      ->check(number_from_0());
  add("max_norm", "--clip", training.max_norm, "largest norm of the gradient; 0: no limit")->check(number_from_0());
  add("most_skipped", "--skip-steps", training.most_skipped,
      "so many steps whose loss or gradient is not finite are skipped; one more ends the run")
      ->check(whole_number(0));
  add("average", "--average", training.average,
      "decay of an average of the weights over the steps, as in 0.999; 0: there is none")
      ->check(number_below_1());
  add("beta1", "--beta1", training.beta1, "decay of the mean of the gradients")->check(number_below_1());
  add("beta2", "--beta2", training.beta2, "decay of the mean of their squares")->check(number_below_1());
  add("epsilon", "--epsilon", training.epsilon, "added to the root of that mean")->check(positive_number());
  add("embedding_dropout", "--embedding-dropout", training.dropout.embedding,
      "probability that training drops an element of the token embeddings")
      ->check(number_below_1());
  add("attention_dropout", "--attention-dropout", training.dropout.attention, "the same for the attention outputs")
      ->check(number_below_1());
  add("feed_forward_dropout", "--feed-forward-dropout", training.dropout.feed_forward,
      "the same for the feed-forward outputs")
      ->check(number_below_1());
  return added;
}

}  // namespace examples
