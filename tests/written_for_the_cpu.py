"""The tests that `--device cuda` leaves out, each with its reason: what their own lines do, not
what the engine does. A test belongs here only if it would fail on a GPU with a correct engine."""

NUMPY = "its own lines ask for .numpy(), or compare by NumPy"
MIXED = "its own lines mix in an array or ids made on the CPU"
OTHER = "what it states is true of the CPU alone"

REASONS = {
    NUMPY: """
        test_a_bias_added_in_place_to_a_product test_repeated_indices_add_up_the_same_way_every_time
        test_pieces_in_one_buffer_are_taken_as_they_are_only_if_they_cover_it
        test_copies_are_independent_and_keep_ties test_no_warning_and_no_stop_at_extreme_gradients
        test_no_position_sees_what_comes_after_it test_targets_of_minus_one_do_not_count
        test_the_head_is_the_embedding test_frequencies_are_the_probabilities
        test_top_p_keeps_the_smallest_set_with_that_share test_golden_losses_of_a_tiny_run
        test_what_is_not_finite_stops_the_run_before_the_update
        test_integers_beside_index_arrays_are_taken_first test_ranges_count_from_both_ends
        test_a_layer_is_its_cell_step_by_step test_clipping_by_norm
        test_backward_direction_reads_the_sequence_from_the_end
        test_attention_is_the_same_with_and_without_weights
        test_dropout_keeps_its_share_and_its_mean
        test_batch_norm_takes_statistics_only_in_training
        test_clipping_a_gradient_stored_by_columns test_first_values_have_the_law_they_claim
        test_without_targets_only_the_last_position_is_computed test_top_k_keeps_the_k_likeliest
        test_steps_below_a_short_parameters_precision_add_up test_an_evaluation_stops_too
        test_of_several_passes_the_one_that_is_not_finite_is_named
    """,
    MIXED: """
        test_gradients_of_pieces_meet_where_they_belong test_updates_are_seen_through_every_alias
        test_two_tensors_on_one_memory_are_both_stepped
        test_state_that_the_user_replaces_or_writes_counts
        test_state_replaced_while_another_parameter_rests test_groups_have_settings_of_their_own
        test_the_greedy_token_is_the_likeliest_and_draws_nothing
        test_the_narrowest_choice_is_the_greedy_one test_the_widest_choice_is_no_restriction
        test_a_generator_of_its_own_leaves_the_global_stream_alone
        test_numpy_arrays_leave_arithmetic_to_the_tensor
        test_zero_grad_forgets_or_fills test_the_master_follows_a_parameter_that_was_written
        test_a_stop_text_ends_the_text_and_is_left_out test_a_stop_text_is_looked_for_in_what_is_new
        test_a_continuation_keeps_the_space_it_begins_with
    """,
    OTHER: """
        test_dlpack_both_ways_shares_memory test_parameter_is_a_leaf_on_the_same_memory
        test_a_file_of_the_first_version_is_read_and_would_be_written_alike
        test_each_position_is_read_once test_logits_that_are_no_numbers_are_refused
    """,
}
WHY = {name: reason for reason, names in REASONS.items() for name in names.split()}
