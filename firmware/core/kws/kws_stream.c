#include "kws_stream.h"

#include <string.h>

static uint8_t *at(kws_stream_t *s, size_t offset) { return (uint8_t *)s + offset; }
static const kws_model_t *model_of(const kws_stream_t *s, uint32_t model) { return s->image->models + model; }

kws_track_t *kws_stream_track(kws_stream_t *s, uint32_t model) {
  return (kws_track_t *)(void *)at(s, model_of(s, model)->track_at);
}

int8_t *kws_stream_window(kws_stream_t *s, uint32_t model) { return (int8_t *)at(s, model_of(s, model)->window_at); }

const uint8_t *kws_stream_scores(const kws_stream_t *s, uint32_t model) {
  const void *const track = (const uint8_t *)s + model_of(s, model)->track_at;
  return ((const kws_track_t *)track)->scores;
}

static kws_ear_t *ear_of(kws_stream_t *s, uint32_t ear) {
  return ear == 0 ? &s->ear : (kws_ear_t *)(void *)at(s, s->image->more_at) + (ear - 1);
}
static const kws_fe_tables_t *tables_of(const kws_stream_t *s, uint32_t ear) {
  return ear == 0 ? s->image->frontend : s->image->more[ear - 1];
}
static size_t channels_of(const kws_stream_t *s, uint32_t model) {
  return tables_of(s, model_of(s, model)->ear)->num_channels;
}

static void *network_memory(kws_stream_t *s, uint32_t model) { return at(s, model_of(s, model)->network_at); }

/* Frames that one invoke takes. */
static uint32_t taken(const kws_model_t *m) { return m->step_frames ? m->step_frames : m->window_frames; }

int kws_stream_init(kws_stream_t *s, const kws_image_t *image) {
  s->image = image;
  for (uint32_t i = 0; i <= image->num_more; i++) {
    const kws_fe_tables_t *const t = tables_of(s, i);
    if (t->num_channels > image->frontend->num_channels || kws_fe_init(&ear_of(s, i)->frontend, t) != 0) return -1;
  }
  for (uint32_t i = 0; i < image->num_models; i++) {
    const kws_model_t *const m = model_of(s, i);
    if (m->num_labels != m->detector.num_labels || m->window_frames == 0 || m->slots < taken(m) ||
        m->window_frames % taken(m) != 0 || m->stride_frames == 0 || m->ear > image->num_more ||
        (m->detector.look && m->detector.look->frames > m->slots) ||
        kws_detector_init(&kws_stream_track(s, i)->detector, &m->detector) != 0) {
      return -1;
    }
  }
  kws_stream_reset(s);
  return 0;
}

void kws_stream_reset(kws_stream_t *s) {
  s->position = s->turn = 0;
  for (uint32_t i = 0; i <= s->image->num_more; i++) {
    ear_of(s, i)->frames = 0;
    kws_fe_reset(&ear_of(s, i)->frontend);
  }
  for (uint32_t i = 0; i < s->image->num_models; i++) {
    const kws_model_t *const m = model_of(s, i);
    kws_track_t *const track = kws_stream_track(s, i);
    track->next_slot = track->new_frames = 0;
    track->until = m->window_frames;
    track->stride = m->stride_frames;
    track->voice = 0;
    memset(track->scores, 0, sizeof track->scores);
    memset(kws_stream_window(s, i), m->input_zero_point, m->slots * channels_of(s, i));
    kws_detector_reset(&track->detector);
    m->network->reset(network_memory(s, i));
  }
}

int kws_stream_frame(kws_stream_t *s, const int16_t *samples, size_t n, size_t *consumed, uint16_t *features) {
  const uint32_t ears = s->image->num_more + 1;
  if (s->turn == 0) { /* no front end may run ahead of another one's frame */
    s->portion = n;
    for (uint32_t i = 0; ears > 1 && i < ears; i++) {
      const size_t missing = tables_of(s, i)->window_samples - ear_of(s, i)->frontend.used;
      if (missing < s->portion) s->portion = missing;
    }
  }
  for (;;) {
    const uint32_t i = s->turn;
    kws_ear_t *const ear = ear_of(s, i);
    size_t used;
    const int whole = kws_fe_process(&ear->frontend, samples, s->portion, &used, features);
    s->turn = i + 1 == ears ? 0 : i + 1;
    *consumed = s->turn == 0 ? used : 0;
    if (whole) {
      const kws_fe_tables_t *const t = tables_of(s, i);
      s->position = t->window_samples + ear->frames * t->hop_samples;
      ear->frames++;
      return 1 + (int)i;
    }
    if (s->turn == 0) return 0;
  }
}

int kws_stream_hears(const kws_stream_t *s, uint32_t model, uint32_t ear) { return model_of(s, model)->ear == ear; }

/* `count` frames of the window, beginning with slot `first`, to the network's input. */
static void fill(kws_stream_t *s, uint32_t model, uint32_t first, uint32_t count) {
  const kws_model_t *const m = model_of(s, model);
  const size_t channels = channels_of(s, model);
  const int8_t *const window = kws_stream_window(s, model);
  int8_t *const input = m->network->input(network_memory(s, model));
  const uint32_t to_end = m->slots - first, head = count < to_end ? count : to_end;
  memcpy(input, window + first * channels, head * channels);
  if (count > head) memcpy(input + head * channels, window, (count - head) * channels);
}

int kws_stream_take(kws_stream_t *s, uint32_t model, const uint16_t *features) {
  const kws_model_t *const m = model_of(s, model);
  kws_track_t *const track = kws_stream_track(s, model);
  const size_t channels = channels_of(s, model);
  int8_t *const slot = kws_stream_window(s, model) + track->next_slot * channels;
  for (size_t i = 0; i < channels; i++) {
    slot[i] = kws_fe_quantize(features[i], m->feature_multiplier, m->feature_shift, m->input_zero_point);
  }
  track->next_slot = track->next_slot + 1 == m->slots ? 0 : track->next_slot + 1;
  if (track->until) track->until--;
  if (m->step_frames) { /* it must see every frame, whether a result is asked for or not */
    if (++track->new_frames < m->step_frames) return 0;
    track->new_frames = 0;
  } else if (track->until) {
    return 0;
  }
  const uint32_t count = taken(m);
  fill(s, model, (track->next_slot + m->slots - count) % m->slots, count);
  return 1;
}

static void keep_scores(kws_stream_t *s, uint32_t model) {
  const kws_model_t *const m = model_of(s, model);
  uint8_t *const scores = kws_stream_track(s, model)->scores;
  const int8_t *const output = m->network->output(network_memory(s, model));
  for (uint32_t i = 0; i < m->num_labels; i++) scores[i] = (uint8_t)((uint8_t)output[i] ^ m->output_flip);
}

int kws_stream_invoke(kws_stream_t *s, uint32_t model) {
  return model_of(s, model)->network->invoke(network_memory(s, model));
}

int kws_stream_result(kws_stream_t *s, uint32_t model) {
  kws_track_t *const track = kws_stream_track(s, model);
  if (track->until || track->new_frames) return 0; /* not yet, or only with the step that is being filled */
  track->until = track->stride;
  keep_scores(s, model);
  return 1;
}

/* Of the newest frames, as a second look has it; 0 without one. */
static uint8_t level(kws_stream_t *s, uint32_t model) {
  const kws_model_t *const m = model_of(s, model);
  const kws_look_t *const look = m->detector.look;
  if (!look) return 0;
  const uint32_t channels = (uint32_t)channels_of(s, model);
  const int8_t *const window = kws_stream_window(s, model);
  uint32_t slot = kws_stream_track(s, model)->next_slot, sum = 0;
  for (uint32_t n = 0; n < look->frames; n++) {
    slot = slot ? slot - 1 : m->slots - 1u;
    for (uint32_t i = 0; i < channels; i++) sum += (uint32_t)(window[slot * channels + i] + 128);
  }
  return (uint8_t)(sum / (look->frames * channels));
}

int kws_stream_decide(kws_stream_t *s, uint32_t model, kws_detection_t *out) {
  const kws_model_t *const m = model_of(s, model);
  kws_track_t *const track = kws_stream_track(s, model);
  const int fired = kws_detector_step(&track->detector, track->scores, level(s, model), s->position, out);
  if (m->role == KWS_ROLE_VOICE) {
    track->voice = (uint8_t)fired;
    return 0;
  }
  for (uint32_t i = 0; fired && i < s->image->num_models; i++) {
    if (model_of(s, i)->role == KWS_ROLE_VOICE && !kws_stream_track(s, i)->voice) return 0;
  }
  return fired;
}

int kws_stream_feed(kws_stream_t *s, const int16_t *samples, size_t n, kws_on_word_t *on_word, void *user) {
  uint16_t features[KWS_FE_MAX_CHANNELS];
  int words = 0;
  size_t used;
  for (; n > 0; samples += used, n -= used) {
    const int frame = kws_stream_frame(s, samples, n, &used, features);
    for (uint32_t i = 0; frame && i < s->image->num_models; i++) {
      if (!kws_stream_hears(s, i, (uint32_t)frame - 1)) continue;
      if (kws_stream_take(s, i, features)) {
        const int error = kws_stream_invoke(s, i);
        if (error) return error;
      }
      kws_detection_t found;
      if (!kws_stream_result(s, i) || !kws_stream_decide(s, i, &found)) continue;
      words++;
      if (!on_word) continue;
      const kws_word_t word = {model_of(s, i)->labels[found.label], found.sample_position, (uint8_t)i, found.label,
                               found.score};
      on_word(user, &word);
    }
  }
  return words;
}

int kws_stream_whole_window(kws_stream_t *s, uint32_t model, int (*invoke)(kws_stream_t *, uint32_t)) {
  const kws_model_t *const m = model_of(s, model);
  const uint32_t first = kws_stream_track(s, model)->next_slot, step = taken(m);
  if (m->step_frames) m->network->reset(network_memory(s, model));
  for (uint32_t i = 0; i < m->window_frames; i += step) {
    fill(s, model, (first + i) % m->slots, step);
    const int error = (invoke ? invoke : kws_stream_invoke)(s, model);
    if (error) return error;
  }
  keep_scores(s, model);
  return 0;
}
